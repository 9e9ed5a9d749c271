-- Finds entries by their tags alone, the newest first. Nobody knows beforehand how rare the tags are: what many
-- entries have is among the newest ones, and what they do not have is so rare that the index finds it quickly.
CREATE FUNCTION @schema@.find_tagged(wanted text[], most bigint) RETURNS TABLE (found_id text, found_document text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    looked_at bigint := 300 + 10 * most;
    found_count bigint;
    oldest bigint;
BEGIN
    RETURN QUERY
    SELECT id, document
    FROM (SELECT * FROM @schema@.entries ORDER BY written DESC LIMIT looked_at) AS newest
    WHERE tags @> wanted ORDER BY written DESC LIMIT most;
    GET DIAGNOSTICS found_count = ROW_COUNT;
    IF found_count < most THEN
        SELECT written INTO oldest FROM @schema@.entries ORDER BY written DESC LIMIT 1 OFFSET looked_at - 1;
        -- The sums keep the planner from walking through all entries, from the newest on.
        RETURN QUERY
        SELECT id, document FROM @schema@.entries
        WHERE tags @> wanted AND written + 0 < oldest ORDER BY written + 0 DESC LIMIT most - found_count;
    END IF;
END
$$;
