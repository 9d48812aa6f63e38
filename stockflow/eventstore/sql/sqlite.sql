-- But for an erasure, which an event of the object tells of: what is said of people goes, of the
-- payload all or some.
CREATE TRIGGER stockflow_event_update BEFORE UPDATE ON stockflow_event
WHEN NOT (
    NEW.id IS OLD.id AND NEW.application IS OLD.application AND NEW.originator IS OLD.originator
    AND NEW.version IS OLD.version AND NEW.topic IS OLD.topic AND NEW.model IS OLD.model
    AND NEW.field IS OLD.field AND NEW.kind IS OLD.kind AND NEW.transition IS OLD.transition
    AND NEW.source IS OLD.source AND NEW.target IS OLD.target
    AND NEW.source_facets IS OLD.source_facets AND NEW.target_facets IS OLD.target_facets
    AND NEW.occurred_at IS OLD.occurred_at AND NEW.recorded_at IS OLD.recorded_at
    AND NEW.actor IS '' AND NEW.reason IS '' AND NEW.correlation IS ''
    AND OLD.kind IS NOT 'erased'
    AND EXISTS (
        SELECT 1 FROM stockflow_event x
        WHERE x.application = 'stockflow' AND x.application = OLD.application
        AND x.originator = OLD.originator AND x.version > OLD.version AND x.kind = 'erased'
    )
    AND (
        NEW.payload IS NULL
        OR json_valid(CAST(NEW.payload AS TEXT)) AND json_valid(COALESCE(CAST(OLD.payload AS TEXT), ''))
        AND NOT EXISTS (
            SELECT 1 FROM json_tree(CAST(NEW.payload AS TEXT)) n
            WHERE NOT EXISTS (
                SELECT 1 FROM json_tree(CAST(OLD.payload AS TEXT)) o
                WHERE o.fullkey = n.fullkey AND o.type = n.type AND o.atom IS n.atom
            )
        )
    )
) BEGIN
    SELECT RAISE(ABORT, 'stockflow: UPDATE of stockflow_event is refused: what was recorded is never altered. Record what corrects it, by a transition or by manage.py stockflow reconcile.');
END;

CREATE TRIGGER stockflow_event_delete BEFORE DELETE ON stockflow_event BEGIN
    SELECT RAISE(ABORT, 'stockflow: DELETE of stockflow_event is refused: what was recorded is never altered. Record what corrects it, by a transition or by manage.py stockflow reconcile.');
END;

-- REPLACE deletes without firing a trigger of DELETE, so what it would replace is looked for.
CREATE TRIGGER stockflow_event_replace BEFORE INSERT ON stockflow_event
WHEN EXISTS (SELECT 1 FROM stockflow_event WHERE id = NEW.id)
  OR EXISTS (
    SELECT 1 FROM stockflow_event
    WHERE application = NEW.application AND originator = NEW.originator AND version = NEW.version
) BEGIN
    SELECT RAISE(ABORT, 'stockflow: INSERT of stockflow_event is refused: this id, or this version of the originator, is recorded already and never replaced. Load the object again and retry.');
END;

CREATE TRIGGER stockflow_event_enlist AFTER INSERT ON stockflow_event BEGIN
    INSERT INTO stockflow_unsequenced (event, application, transaction_id)
    VALUES (NEW.id, NEW.application, NEW.id);
END;

-- But for an erasure: the salt goes once what it was for is gone.
CREATE TRIGGER stockflow_position_update BEFORE UPDATE ON stockflow_position
WHEN NOT (
    NEW.event IS OLD.event AND NEW.application IS OLD.application AND NEW.position IS OLD.position
    AND NEW.sequenced_at IS OLD.sequenced_at AND NEW.hash IS OLD.hash
    AND OLD.salt IS NOT NULL AND NEW.salt IS NULL
    AND OLD.digest IS NULL AND length(NEW.digest) IS 32
    AND EXISTS (
        SELECT 1 FROM stockflow_event e JOIN stockflow_event x
        ON x.application = e.application AND x.originator = e.originator AND x.version > e.version
        WHERE e.id = OLD.event AND e.application = 'stockflow' AND e.kind <> 'erased'
        AND e.actor = '' AND e.reason = '' AND e.correlation = '' AND x.kind = 'erased'
    )
) BEGIN
    SELECT RAISE(ABORT, 'stockflow: UPDATE of stockflow_position is refused: a position is given once, by sequence(), and links the log. To see whether it is whole, run manage.py stockflow verify.');
END;

CREATE TRIGGER stockflow_position_delete BEFORE DELETE ON stockflow_position BEGIN
    SELECT RAISE(ABORT, 'stockflow: DELETE of stockflow_position is refused: a position is given once, by sequence(), and links the log. To see whether it is whole, run manage.py stockflow verify.');
END;

CREATE TRIGGER stockflow_position_replace BEFORE INSERT ON stockflow_position
WHEN EXISTS (SELECT 1 FROM stockflow_position WHERE event = NEW.event)
  OR EXISTS (
    SELECT 1 FROM stockflow_position
    WHERE application = NEW.application AND position = NEW.position
) BEGIN
    SELECT RAISE(ABORT, 'stockflow: INSERT of stockflow_position is refused: the event has its position, or the position its event. Positions are given by sequence().');
END;
