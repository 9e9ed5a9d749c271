-- The tables of an Engram. Ids, keys and tags are compared byte by byte, independently of any language.

CREATE TABLE @schema@.meta (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version integer NOT NULL,
    engram_id text NOT NULL
);

-- Numbers the writes of the store; the newest entry has the highest number.
CREATE SEQUENCE @schema@.written;

CREATE TABLE @schema@.entries (
    id text COLLATE "C" PRIMARY KEY,
    merge_key text COLLATE "C",
    document text NOT NULL,
    tags text[] NOT NULL,
    words tsvector NOT NULL,
    embedding real[],
    version bigint NOT NULL,
    written bigint NOT NULL
);
CREATE INDEX entries_by_key ON @schema@.entries (merge_key, written DESC) WHERE merge_key IS NOT NULL;
CREATE INDEX entries_by_age ON @schema@.entries (written DESC);
CREATE INDEX entries_by_tag ON @schema@.entries USING gin (tags) WITH (gin_pending_list_limit = 128);
CREATE INDEX entries_by_word ON @schema@.entries USING gin (words) WITH (gin_pending_list_limit = 128);

-- The latest writes. The numbers of an entry's writes have the order in which they were done.
CREATE TABLE @schema@.writes (
    seq bigint PRIMARY KEY,
    imprint_id text COLLATE "C" NOT NULL UNIQUE,
    op text NOT NULL,
    entry text COLLATE "C",
    version bigint,
    trace_id text COLLATE "C",
    undone boolean NOT NULL DEFAULT false
);
CREATE INDEX writes_by_entry ON @schema@.writes (entry, seq) WHERE entry IS NOT NULL;

-- For each write that can be undone: the entry before the write, or NULL if there was none.
CREATE TABLE @schema@.undo (
    trace_id text COLLATE "C",
    seq bigint,
    before @schema@.entries,
    PRIMARY KEY (trace_id, seq)
);
