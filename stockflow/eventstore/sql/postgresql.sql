CREATE FUNCTION stockflow_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stockflow: % of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- For each row: loaddata begins with an UPDATE that finds none, and that is no harm.
CREATE TRIGGER stockflow_immutable BEFORE UPDATE OR DELETE ON stockflow_event
FOR EACH ROW EXECUTE FUNCTION stockflow_refuse(
    'what was recorded is never altered. Record what corrects it, by a transition or by manage.py stockflow reconcile.'
);

CREATE TRIGGER stockflow_never_emptied BEFORE TRUNCATE ON stockflow_event
FOR EACH STATEMENT EXECUTE FUNCTION stockflow_refuse(
    'what was recorded is never altered. Record what corrects it, by a transition or by manage.py stockflow reconcile.'
);

CREATE TRIGGER stockflow_immutable BEFORE UPDATE OR DELETE ON stockflow_position
FOR EACH ROW EXECUTE FUNCTION stockflow_refuse(
    'a position is given once, by sequence(), and links the log. To see whether it is whole, run manage.py stockflow verify.'
);

CREATE TRIGGER stockflow_never_emptied BEFORE TRUNCATE ON stockflow_position
FOR EACH STATEMENT EXECUTE FUNCTION stockflow_refuse(
    'a position is given once, by sequence(), and links the log. To see whether it is whole, run manage.py stockflow verify.'
);

-- A transaction is known by a hash of its number and its beginning: the number alone may be
-- another transaction's in the cluster that a waiting event was restored from.
CREATE FUNCTION stockflow_enlist() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stockflow_unsequenced (event, application, transaction_id)
    SELECT id, application, hashint8extended(
        pg_current_xact_id()::text::bigint, (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint
    ) FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER stockflow_enlist AFTER INSERT ON stockflow_event
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION stockflow_enlist();

-- Its rows live for a moment: without this, readers would wade through the dead ones.
ALTER TABLE stockflow_unsequenced SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
