"""The example's leads among the tests' apps, beside the tests' own ``crm``."""

from example.crm.apps import CrmConfig


class ExampleCrm(CrmConfig):
    """The same app under another label."""

    label = "example_crm"
