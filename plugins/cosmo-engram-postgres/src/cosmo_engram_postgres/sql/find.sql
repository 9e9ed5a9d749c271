-- Finds entries by their tags alone, the newest first. How rare the tags are is not known in advance. Frequent tags
-- are found among the newest entries; tags that are not are rare, and the index finds their entries quickly.
CREATE FUNCTION @schema@.find_tagged(wanted text[], most bigint) RETURNS TABLE (found_id text, found_document text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    scanned bigint := 300 + 10 * most;
    found_count bigint;
    oldest bigint;
BEGIN
    RETURN QUERY
    SELECT id, document
    FROM (SELECT * FROM @schema@.entries ORDER BY written DESC LIMIT scanned) AS newest
    WHERE tags @> wanted ORDER BY written DESC LIMIT most;
    GET DIAGNOSTICS found_count = ROW_COUNT;
    IF found_count < most THEN
        SELECT written INTO oldest FROM @schema@.entries ORDER BY written DESC LIMIT 1 OFFSET scanned - 1;
        -- The additions keep the planner from scanning all entries from the newest on.
        RETURN QUERY
        SELECT id, document FROM @schema@.entries
        WHERE tags @> wanted AND written + 0 < oldest ORDER BY written + 0 DESC LIMIT most - found_count;
    END IF;
END
$$;
