-- Undoes the writes of a trace that are not committed; returns how many were undone.
CREATE FUNCTION @schema@.roll_back(given_trace text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    undone_write record;
    later record;
    undone_count bigint := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(@store_lock@);
    FOR undone_write IN
        SELECT undo.seq, writes.entry, undo.before
        FROM @schema@.undo JOIN @schema@.writes ON writes.seq = undo.seq
        WHERE undo.trace_id = given_trace ORDER BY undo.seq DESC
    LOOP
        SELECT trace_id, seq INTO later FROM @schema@.writes
        WHERE entry = undone_write.entry AND seq > undone_write.seq AND NOT undone ORDER BY seq LIMIT 1;
        IF FOUND THEN
            -- The later write stays. If it is undone as well, the entry gets back its state before both. If it
            -- cannot be undone, it has no row in `undo`.
            UPDATE @schema@.undo SET before = undone_write.before
            WHERE trace_id = later.trace_id AND seq = later.seq;
        ELSE
            DELETE FROM @schema@.entries WHERE id = undone_write.entry;
            IF (undone_write.before).id IS NOT NULL THEN
                INSERT INTO @schema@.entries SELECT (undone_write.before).*;
            END IF;
            undone_count := undone_count + 1;
        END IF;
        UPDATE @schema@.writes SET undone = true WHERE seq = undone_write.seq;
    END LOOP;
    DELETE FROM @schema@.undo WHERE trace_id = given_trace;
    RETURN undone_count;
END
$$;

-- Makes the writes of a trace permanent.
CREATE FUNCTION @schema@.commit_trace(given_trace text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(@store_lock@);
    DELETE FROM @schema@.undo WHERE trace_id = given_trace;
END
$$;
