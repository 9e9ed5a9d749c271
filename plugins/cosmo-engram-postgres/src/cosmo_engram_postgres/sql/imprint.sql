-- Locks an id and a key until the transaction ends. The order, id before key, prevents deadlocks. The shared lock
-- on the store keeps roll-backs out, which lock it exclusively.
CREATE FUNCTION @schema@.lock_names(given_id text, given_key text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(@store_lock@);
    IF given_id IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(given_id, @id_seed@));
    END IF;
    IF given_key IS NOT NULL THEN
        PERFORM pg_advisory_xact_lock(hashtextextended(given_key, @key_seed@));
    END IF;
END
$$;

-- Deletes all but the latest writes.
CREATE FUNCTION @schema@.delete_oldest_writes(keeps bigint) RETURNS void
LANGUAGE sql AS $$
    WITH deleted AS (
        DELETE FROM @schema@.writes
        WHERE seq <= (SELECT seq FROM @schema@.writes ORDER BY seq DESC LIMIT 1 OFFSET keeps)
        RETURNING trace_id, seq
    )
    DELETE FROM @schema@.undo USING deleted
    WHERE undo.trace_id = deleted.trace_id AND undo.seq = deleted.seq
$$;

-- Does one write. The outcome is done, known (repeated), exists, missing, conflict, or changed (the entry was
-- written after the caller read it).
CREATE FUNCTION @schema@.imprint(
    given_imprint text, given_trace text, given_op text, given_id text, fresh_id text, given_key text,
    given_document text, given_tags text[], given_words text, given_embedding real[], seen bigint, keeps bigint,
    OUT outcome text, OUT done_op text, OUT done_id text, OUT done_version bigint
) LANGUAGE plpgsql AS $$
DECLARE
    old @schema@.entries;
    count bigint;
BEGIN
    PERFORM @schema@.lock_names(given_id, given_key);
    SELECT 'known', op, entry, version INTO outcome, done_op, done_id, done_version
    FROM @schema@.writes WHERE imprint_id = given_imprint;
    IF FOUND THEN
        RETURN;
    END IF;

    IF given_op = 'delete' AND given_id IS NOT NULL THEN
        SELECT * INTO old FROM @schema@.entries WHERE id = given_id;
        IF given_key IS NULL AND old.merge_key IS NOT NULL THEN
            PERFORM pg_advisory_xact_lock(hashtextextended(old.merge_key, @key_seed@));
            -- The transaction that held the lock on the key may have deleted the entry.
            SELECT * INTO old FROM @schema@.entries WHERE id = given_id;
        END IF;
    ELSIF given_op <> 'append' AND given_key IS NOT NULL THEN
        SELECT * INTO old FROM @schema@.entries WHERE merge_key = given_key ORDER BY written DESC LIMIT 1;
    END IF;

    outcome := CASE
        WHEN old.id IS NULL AND given_op = 'merge' THEN 'missing'
        WHEN old.id IS NULL THEN NULL
        WHEN given_op = 'add' THEN 'exists'
        WHEN old.id <> given_id OR given_key IS NOT NULL AND old.merge_key IS DISTINCT FROM given_key THEN 'conflict'
        WHEN given_op = 'merge' AND old.written IS DISTINCT FROM seen THEN 'changed'
    END;
    IF outcome IS NOT NULL THEN
        RETURN;
    END IF;
    IF old.id IS NULL AND given_op <> 'delete' AND given_id IS NOT NULL THEN
        IF EXISTS (SELECT FROM @schema@.entries WHERE id = given_id) THEN
            IF given_op <> 'append' THEN
                outcome := 'exists';
                RETURN;
            END IF;
            given_id := NULL;
        END IF;
    END IF;

    outcome := 'done';
    done_op := given_op;
    count := nextval(@written@);
    IF given_op = 'delete' THEN
        done_id := old.id;
        DELETE FROM @schema@.entries WHERE id = old.id;
    ELSIF old.id IS NULL THEN
        done_id := coalesce(given_id, fresh_id);
        done_version := 1;
        INSERT INTO @schema@.entries (id, merge_key, document, tags, words, embedding, version, written)
        VALUES (done_id, given_key, given_document, given_tags, given_words::tsvector, given_embedding, 1, count);
    ELSE
        done_id := old.id;
        done_version := old.version + 1;
        IF given_op = 'merge' AND given_embedding IS NULL THEN
            given_embedding := old.embedding;
        END IF;
        UPDATE @schema@.entries
        SET document = given_document, tags = given_tags, words = given_words::tsvector,
            embedding = given_embedding, version = done_version, written = count
        WHERE id = old.id;
    END IF;

    INSERT INTO @schema@.writes (seq, imprint_id, op, entry, version, trace_id)
    VALUES (count, given_imprint, given_op, done_id, done_version, given_trace);
    IF given_trace IS NOT NULL AND done_id IS NOT NULL THEN
        INSERT INTO @schema@.undo (trace_id, seq, before) VALUES (given_trace, count, old);
    END IF;
    -- Once every tenth of `keeps` writes, so that the cost per write is small.
    IF count % greatest(keeps / 10, 1) = 0 THEN
        PERFORM @schema@.delete_oldest_writes(keeps);
    END IF;
END
$$;
