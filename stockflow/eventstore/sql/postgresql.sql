CREATE FUNCTION stockflow_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'stockflow: % of % is refused: %', TG_OP, TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- Nothing but an erasure, which an event of the object tells of: what is said of people goes, of the
-- payload all or some.
CREATE FUNCTION stockflow_keep_event() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    emptied stockflow_event := OLD;
    is_rest boolean := NEW.payload IS NULL;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        emptied.actor := '';
        emptied.reason := '';
        emptied.correlation := '';
        emptied.payload := NEW.payload;
        IF NEW IS NOT DISTINCT FROM emptied AND OLD.application = 'stockflow' AND OLD.kind <> 'erased'
            AND EXISTS (
                SELECT 1 FROM stockflow_event x
                WHERE x.application = 'stockflow' AND x.originator = OLD.originator
                AND x.version > OLD.version AND x.kind = 'erased'
            )
        THEN
            IF NOT is_rest THEN
                BEGIN
                    -- jsonb holds no NUL, which what goes may have.
                    is_rest := replace(convert_from(OLD.payload, 'UTF8'), '\u0000', '\u0020')::jsonb
                        @> convert_from(NEW.payload, 'UTF8')::jsonb;
                EXCEPTION WHEN data_exception THEN  -- it is no JSON
                    is_rest := false;
                END;
            END IF;
            IF is_rest THEN
                RETURN NEW;
            END IF;
        END IF;
    END IF;
    RAISE EXCEPTION 'stockflow: % of % is refused: what was recorded is never altered. Record what corrects it, by a transition or by manage.py stockflow reconcile.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

-- For each row: loaddata begins with an UPDATE that finds none, and that is no harm.
CREATE TRIGGER stockflow_immutable BEFORE DELETE OR UPDATE ON stockflow_event
FOR EACH ROW EXECUTE FUNCTION stockflow_keep_event();

CREATE TRIGGER stockflow_never_emptied BEFORE TRUNCATE ON stockflow_event
FOR EACH STATEMENT EXECUTE FUNCTION stockflow_refuse(
    'what was recorded is never altered. Record what corrects it, by a transition or by manage.py stockflow reconcile.'
);

-- Nothing but an erasure: the salt goes once what it was for is gone.
CREATE FUNCTION stockflow_keep_position() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    erased stockflow_position := OLD;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        erased.salt := NULL;
        erased.digest := NEW.digest;
        IF NEW IS NOT DISTINCT FROM erased AND OLD.salt IS NOT NULL AND OLD.digest IS NULL
            AND COALESCE(length(NEW.digest) = 32, false)
            AND EXISTS (
                SELECT 1 FROM stockflow_event e JOIN stockflow_event x
                ON x.application = e.application AND x.originator = e.originator AND x.version > e.version
                WHERE e.id = OLD.event AND e.application = 'stockflow' AND e.kind <> 'erased'
                AND e.actor = '' AND e.reason = '' AND e.correlation = '' AND x.kind = 'erased'
            )
        THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'stockflow: % of % is refused: a position is given once, by sequence(), and links the log. To see whether it is whole, run manage.py stockflow verify.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER stockflow_immutable BEFORE DELETE OR UPDATE ON stockflow_position
FOR EACH ROW EXECUTE FUNCTION stockflow_keep_position();

CREATE TRIGGER stockflow_never_emptied BEFORE TRUNCATE ON stockflow_position
FOR EACH STATEMENT EXECUTE FUNCTION stockflow_refuse(
    'a position is given once, by sequence(), and links the log. To see whether it is whole, run manage.py stockflow verify.'
);

-- A transaction is known by a hash of its number and its beginning: the number alone may be
-- another transaction's in the cluster that a waiting event was restored from.
CREATE FUNCTION stockflow_enlist() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    this bigint := hashint8extended(
        pg_current_xact_id()::text::bigint, (extract(epoch FROM transaction_timestamp()) * 1000000)::bigint
    );
BEGIN
    INSERT INTO stockflow_unsequenced (event, application, transaction_id)
    SELECT id, application, this FROM added;
    RETURN NULL;
END $$;

CREATE TRIGGER stockflow_enlist AFTER INSERT ON stockflow_event
REFERENCING NEW TABLE AS added
FOR EACH STATEMENT EXECUTE FUNCTION stockflow_enlist();

-- Its rows live for a moment: without this, readers would wade through the dead ones.
ALTER TABLE stockflow_unsequenced SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- A save's events. It keeps its plans, and runs where the row is updated: before the fence looks.
CREATE FUNCTION stockflow_append(
    of_originator text, its_version bigint, its_model text, its_field text, its_kind text,
    its_transition text, its_source text, its_target text, its_source_facets text,
    its_target_facets text, at bigint, its_actor text, its_reason text, its_correlation text,
    its_payload bytea
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    last_model text;
    last_field text;
    last_facets text;
BEGIN
    -- Most often the event before is one of the same field, and says all.
    IF its_version > 1 THEN
        SELECT model, field, target_facets INTO last_model, last_field, last_facets
        FROM stockflow_event
        WHERE application = 'stockflow' AND originator = of_originator
        ORDER BY version DESC LIMIT 1;
        IF last_field <> its_field THEN
            SELECT target_facets INTO last_facets
            FROM stockflow_event
            WHERE application = 'stockflow' AND originator = of_originator AND field = its_field
            ORDER BY version DESC LIMIT 1;
        END IF;
    END IF;
    INSERT INTO stockflow_event (
        application, originator, version, topic, model, field, kind, transition, source, target,
        source_facets, target_facets, occurred_at, recorded_at, actor, reason, correlation, payload
    ) VALUES (
        'stockflow', of_originator, its_version, 'stockflow:' || its_kind,
        COALESCE(last_model, its_model), its_field, its_kind, its_transition, its_source, its_target,
        CASE WHEN its_source IS NOT NULL THEN COALESCE(its_source_facets, last_facets) END,
        its_target_facets, at, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        its_actor, its_reason, its_correlation, its_payload
    );
END $$;

CREATE FUNCTION stockflow_start_timer(
    its_lifecycle uuid, its_model text, its_field text, its_version bigint, its_transition text, due bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stockflow_scheduledtransition
        (lifecycle, model, field, version, transition, due_at, attempts, error)
    VALUES (its_lifecycle, its_model, its_field, its_version, its_transition, due, 0, '')
    ON CONFLICT ON CONSTRAINT stockflow_timer DO UPDATE SET
        version = excluded.version, transition = excluded.transition, due_at = excluded.due_at,
        attempts = 0, error = '', parked_at = NULL, retry_at = NULL, released_at = NULL;
END $$;

CREATE FUNCTION stockflow_end_timer(its_lifecycle uuid, its_field text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM stockflow_scheduledtransition WHERE lifecycle = its_lifecycle AND field = its_field;
END $$;
