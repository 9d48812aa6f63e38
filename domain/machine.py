"""A machine as data: its states, its transitions, and whether it makes sense."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta, tzinfo
from functools import cached_property

from stockflow.domain.decay import Decay, Delay, OnFalse

ANY = "*"
ANY_OTHER = "+"


@dataclass(frozen=True)
class Rule:
    """One transition from one source, as declared.

    ``targets`` is empty for a transition that changes no state, None where the target is
    computed and may be any state.
    """

    transition: str
    source: str
    targets: tuple[str, ...] | None
    delay: Delay | None = None
    flow: str = ""
    on_error: str | None = None
    on_false: OnFalse = "retry"
    max_lateness: timedelta | None = None
    zone: tzinfo | None = None
    restarts_clock: bool = True


@dataclass(frozen=True)
class Machine:
    """The states of one stock field and the rules that lead between them."""

    initial: str
    choices: tuple[str, ...]
    rules: tuple[Rule, ...]

    @property
    def is_open(self) -> bool:
        """Whether a computed target makes states possible that nothing names."""
        return any(rule.targets is None for rule in self.rules)

    @property
    def states(self) -> frozenset[str]:
        """Every state that the default, a choice or a transition names.

        >>> rules = (Rule("cool", "hot", ("warm",)), Rule("drop", "*", ("lost",)))
        >>> sorted(Machine("hot", (), rules).states)
        ['hot', 'lost', 'warm']
        """
        return frozenset(self._named())

    def _named(self) -> Iterator[str]:
        yield from (state for state in (self.initial, *self.choices) if state)
        for rule in self.rules:
            if rule.source not in (ANY, ANY_OTHER):
                yield rule.source
            yield from rule.targets or ()
            if rule.on_error:
                yield rule.on_error

    def reachable(self) -> frozenset[str]:
        """The states that are the initial one or some transition's target."""
        reached = {self.initial}
        for rule in self.rules:
            reached.update(rule.targets or (), [rule.on_error] if rule.on_error else [])
        return frozenset(reached)

    def decays(self, state: str) -> tuple[Decay, ...]:
        """The decays that start when *state* is entered, as declared."""
        known = self._decays.get(state)
        return tuple(self._decays_of(state)) if known is None else known

    @cached_property
    def _decays(self) -> dict[str, tuple[Decay, ...]]:
        return {state: tuple(self._decays_of(state)) for state in self.states}

    def _decays_of(self, state: str) -> Iterator[Decay]:
        for rule in self.rules:
            if rule.delay is not None and self._leaves(rule, state):
                told = rule.on_false, rule.max_lateness, rule.zone
                yield Decay(rule.transition, state, rule.delay, *told)

    def target(self, transition: str, state: str) -> str | None:
        """Where *transition* leads from *state*; None if it does not leave it, or computes where."""
        rules = [rule for rule in self.rules if rule.transition == transition]
        named = [rule for rule in rules if rule.source == state]
        for rule in named or [rule for rule in rules if self._leaves(rule, state)]:
            return rule.targets[0] if rule.targets and len(rule.targets) == 1 else None
        return None

    def restarts_clock(self, transition: str | None, state: str) -> bool:
        """Whether *transition* from *state* to itself lets the decays of the state begin anew."""
        return all(
            rule.restarts_clock
            for rule in self.rules
            if rule.transition == transition and self._leaves(rule, state)
        )

    def may_keep_clock(self, state: str) -> bool:
        """Whether some transition from *state* to itself lets its decays stay due when they are."""
        return any(not rule.restarts_clock and self._leaves(rule, state) for rule in self.rules)

    def _leaves(self, rule: Rule, state: str) -> bool:
        if rule.source == ANY_OTHER:
            named = any(r.transition == rule.transition and r.source == state for r in self.rules)
            return not named and state not in (rule.targets or ())
        return rule.source in (state, ANY)

    def flow(self, transition: str | None, source: str | None) -> str:
        """The label of the flow that *transition* belongs to: its own name unless declared."""
        for rule in self.rules:
            if rule.transition == transition and rule.source in (source, ANY, ANY_OTHER):
                return rule.flow or rule.transition
        return transition or ""
