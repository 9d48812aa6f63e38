CREATE TRIGGER stockflow_event_update BEFORE UPDATE ON stockflow_event BEGIN
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

CREATE TRIGGER stockflow_position_update BEFORE UPDATE ON stockflow_position BEGIN
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
