-- Undoes what a trace wrote and did not commit; returns how many writes it were.
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
            -- It stands. If it is undone later, it gives back what was before both; if it cannot be, it has
            -- nothing to give back.
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

-- Keeps what a trace wrote.
CREATE FUNCTION @schema@.commit_trace(given_trace text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(@store_lock@);
    DELETE FROM @schema@.undo WHERE trace_id = given_trace;
END
$$;
