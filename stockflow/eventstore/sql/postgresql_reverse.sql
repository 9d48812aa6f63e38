DROP FUNCTION stockflow_enlist() CASCADE;

DROP FUNCTION stockflow_refuse() CASCADE;

DROP FUNCTION stockflow_keep_event() CASCADE;

DROP FUNCTION stockflow_keep_position() CASCADE;

DROP FUNCTION stockflow_append;

DROP FUNCTION stockflow_start_timer;

DROP FUNCTION stockflow_end_timer;
