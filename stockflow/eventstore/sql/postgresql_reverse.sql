DROP FUNCTION stockflow_enlist() CASCADE;

DROP FUNCTION stockflow_refuse() CASCADE;
