-- name: find_state
-- What the replica of a client is; whether the server can compress with lz4; which role is to own it, where there is
-- one that has access to this database and that this session may take; and who owns its schema instead.
SELECT generation, fence, status, conflict_strategies, mark, source_schema IS NOT NULL AS has_declaration,
       (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') AS lz4,
       current_setting('server_encoding') AS encoding,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %(client)s) AS has_schema,
       EXISTS (SELECT FROM sync_metadata.quarantine WHERE client_name = %(client)s) AS has_quarantine,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %(load)s) AS has_load,
       o.rolname AS owner,
       (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace AS n
         WHERE n.nspname IN (%(client)s, %(load)s) AND NOT pg_has_role(o.oid, n.nspowner, 'USAGE') LIMIT 1) AS stranger
  FROM sync_metadata.replication_state
       LEFT JOIN pg_roles AS o
              ON o.rolname = 'sync_owner_' || %(client)s
             AND has_table_privilege(o.oid, 'sync_metadata.replication_state', 'UPDATE')
             AND pg_has_role(session_user, o.oid,
                             CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)
 WHERE client_name = %(client)s;

-- name: find_declaration
-- What it takes to make a source of a replica, as of this generation.
SELECT generation, mark, source_schema, verified_at FROM sync_metadata.replication_state WHERE client_name = %(client)s;

-- name: add_state
-- A client's first run; two at once make one row.
INSERT INTO sync_metadata.replication_state (client_name) VALUES (%(client)s) ON CONFLICT DO NOTHING;

-- name: claim
-- The fence: only the newest term may write, and only onto the generation that it started from. Holds the row.
UPDATE sync_metadata.replication_state
   SET fence = greatest(fence, %(term)s)
 WHERE client_name = %(client)s AND fence <= %(term)s AND generation = %(generation)s
RETURNING generation;

-- name: advance
-- The watermark moves in the transaction of the rows.
UPDATE sync_metadata.replication_state
   SET generation = generation + 1, mark = %(mark)s, schema_fingerprint = %(schema_fingerprint)s,
       source_schema = coalesce(%(source_schema)s::jsonb, source_schema),
       verified_at = CASE WHEN %(verified)s THEN clock_timestamp() ELSE verified_at END,
       status = 'ok', reason = NULL, updated_at = clock_timestamp()
 WHERE client_name = %(client)s;

-- name: mark_verified
-- A comparison found no difference; a deposed node has no say.
UPDATE sync_metadata.replication_state
   SET verified_at = clock_timestamp(), updated_at = clock_timestamp()
 WHERE client_name = %(client)s AND fence <= %(term)s;

-- name: set_status
-- Why a client does not go on; a deposed node has no say.
UPDATE sync_metadata.replication_state
   SET status = %(status)s, reason = %(reason)s, updated_at = clock_timestamp()
 WHERE client_name = %(client)s AND fence <= %(term)s AND (status, reason) IS DISTINCT FROM (%(status)s, %(reason)s);

-- name: set_transaction
-- The settings of one transaction; the session belongs to the pooler. Without an owner the role stays as it is.
SELECT set_config('standard_conforming_strings', 'on', true), set_config('bytea_output', 'hex', true),
       set_config('lock_timeout', %(lock_timeout)s, true), set_config('timezone', 'UTC', true),
       set_config('datestyle', 'ISO, YMD', true), set_config('extra_float_digits', '1', true),
       set_config('search_path', 'pg_catalog', true), set_config('statement_timeout', '0', true),
       set_config('idle_in_transaction_session_timeout', '0', true),
       set_config('default_toast_compression', %(compression)s, true),
       set_config('role', coalesce(%(owner)s, current_setting('role')), true);

-- name: find_outside_dependents
-- What outside a replica's schema hangs on its tables and would go with them.
SELECT DISTINCT format('%%I.%%I', other.nspname, dependent.relname)
  FROM pg_namespace replica
  JOIN pg_class base ON base.relnamespace = replica.oid
  JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = base.oid
  LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
  LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
  JOIN pg_class dependent ON dependent.oid = coalesce(r.ev_class, c.conrelid)
  JOIN pg_namespace other ON other.oid = dependent.relnamespace
 WHERE replica.nspname = %(client)s AND other.oid <> replica.oid;

-- name: list_columns
-- The tables of a replica as they are, to see whether somebody has changed them.
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod)
  FROM pg_namespace n
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname = %(client)s;

-- name: list_keys
-- The primary keys of a replica, to see whether somebody has dropped one.
SELECT c.relname, array_agg(a.attname::text ORDER BY array_position(k.conkey, a.attnum))
  FROM pg_namespace n
  JOIN pg_class c ON c.relnamespace = n.oid
  JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.conkey)
 WHERE n.nspname = %(client)s
 GROUP BY c.relname;

-- name: list_kept_tables
-- Tables with entries in quarantine; the others need no look at it.
SELECT DISTINCT table_name FROM sync_metadata.quarantine WHERE client_name = %(client)s;

-- name: list_kept
-- All originals of one table, their content as md5.
SELECT row_key, column_name, sqlite_type, md5(raw), kind
  FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND table_name = %(table)s;

-- name: list_originals
-- All originals of one table, whole, in the order in which they were kept.
SELECT row_key, column_name, sqlite_type, raw
  FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND table_name = %(table)s
 ORDER BY entry_id;

-- name: keep
-- The original of a value that does not fit, or would not come back as it was.
INSERT INTO sync_metadata.quarantine
       (client_name, table_name, row_key, column_name, sqlite_type, raw, kind, reason, generation)
VALUES (%(client)s, %(table)s, %(row_key)s, %(column)s, %(sqlite_type)s, %(raw)s, %(kind)s, %(reason)s, %(generation)s);

-- name: drop_kept_row
-- The row is gone, or written anew.
DELETE FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND table_name = %(table)s AND md5(row_key) = md5(%(row_key)s);

-- name: drop_kept_columns
-- These columns of the row are written anew.
DELETE FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND table_name = %(table)s AND md5(row_key) = md5(%(row_key)s)
   AND (column_name IS NULL OR column_name = ANY (%(columns)s));

-- name: drop_kept_reason
-- All entries of a table with one reason; they are written anew.
DELETE FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND table_name = %(table)s AND reason = %(reason)s;

-- name: drop_kept_table
-- The table is gone, or written anew.
DELETE FROM sync_metadata.quarantine WHERE client_name = %(client)s AND table_name = %(table)s;

-- name: drop_kept_column
-- The column is gone.
DELETE FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND table_name = %(table)s AND column_name = %(column)s;

-- name: drop_kept_client
-- Everything is written anew.
DELETE FROM sync_metadata.quarantine WHERE client_name = %(client)s AND generation < %(generation)s;

-- name: adopt_kept
-- What was kept while loading becomes the client's with the swap.
UPDATE sync_metadata.quarantine SET client_name = %(client)s, generation = %(generation)s WHERE client_name = %(load)s;

-- name: count_kept
-- How much of a replica is in quarantine.
SELECT count(*) FILTER (WHERE kind = 'quarantined'), count(*) FILTER (WHERE kind = 'converted')
  FROM sync_metadata.quarantine WHERE client_name = %(client)s;

-- name: list_quarantine
-- What an operator sees of it.
SELECT table_name, row_key, column_name, sqlite_type, octet_length(raw) AS raw_bytes, encode(substr(raw, 1, 200), 'hex') AS raw_start,
       kind, reason, generation, noticed_at
  FROM sync_metadata.quarantine
 WHERE client_name = %(client)s AND (%(all)s OR kind = 'quarantined')
 ORDER BY table_name, row_key, column_name, entry_id;

-- name: begin_job
-- A run that takes long is seen while it runs.
INSERT INTO sync_metadata.sync_jobs
       (deployment_id, client_name, status, sync_type, triggered_by, tables_total, node_name, term, metadata)
VALUES ((SELECT deployment_id FROM sync_metadata.client_deployments WHERE client_name = %(client)s),
        %(client)s, 'running', %(sync_type)s, %(triggered_by)s, %(tables)s, %(node_name)s, %(term)s, %(metadata)s::jsonb)
RETURNING job_id;

-- name: take_job
-- A run works off a job that waited; nobody has ended it meanwhile.
UPDATE sync_metadata.sync_jobs SET tables_total = %(tables)s WHERE job_id = %(job_id)s AND status = 'running'
RETURNING job_id;

-- name: finish_job
-- How it ended; the trigger fills in the times. What somebody else has ended stays as it is.
UPDATE sync_metadata.sync_jobs
   SET status = %(status)s, tables_synced = %(tables)s, tables_total = coalesce(tables_total, %(tables)s), rows_synced = %(rows)s, rows_failed = %(quarantined)s,
       bytes_transferred = %(bytes)s, error_message = %(error)s, metadata = metadata || %(metadata)s::jsonb
 WHERE job_id = %(job_id)s AND status = 'running';

-- name: record_job
-- A run that is over, in the transaction of its rows.
INSERT INTO sync_metadata.sync_jobs
       (deployment_id, client_name, started_at, completed_at, status, sync_type, triggered_by, tables_total, tables_synced,
        rows_synced, rows_failed, duration_seconds, bytes_transferred, error_message, node_name, term, metadata)
VALUES ((SELECT deployment_id FROM sync_metadata.client_deployments WHERE client_name = %(client)s),
        %(client)s, clock_timestamp() - make_interval(secs => %(seconds)s), clock_timestamp(), %(status)s, %(sync_type)s,
        %(triggered_by)s, %(tables)s, %(tables)s, %(rows)s, %(quarantined)s, %(seconds)s, %(bytes)s, %(error)s,
        %(node_name)s, %(term)s, %(metadata)s::jsonb);

-- name: abandon_jobs
-- Whoever holds the client's lock and fence knows that no earlier run of it is alive.
UPDATE sync_metadata.sync_jobs
   SET status = 'failed', error_message = 'cut off'
 WHERE client_name = %(client)s AND status = 'running' AND metadata ->> 'by' = 'replication'
   AND job_id IS DISTINCT FROM %(job_id)s;

-- name: report_progress
-- How far a table is.
INSERT INTO sync_metadata.sync_progress (job_id, table_name, rows_processed, status)
VALUES (%(job_id)s, left(%(table)s, 100), %(rows)s, %(status)s)
ON CONFLICT (job_id, table_name) DO UPDATE
   SET rows_processed = excluded.rows_processed, status = excluded.status,
       completed_at = CASE WHEN excluded.status = 'running' THEN NULL ELSE clock_timestamp() END;

-- name: log_conflict
-- A row that is not the same on both sides, both kept; told once while it stays so.
INSERT INTO sync_metadata.conflict_log
       (deployment_id, client_name, table_name, record_id, conflict_type, source_data, target_data, resolution_strategy,
        resolved_data, resolved_at, resolved_by, resolution_notes)
SELECT (SELECT deployment_id FROM sync_metadata.client_deployments WHERE client_name = %(client)s::text),
       %(client)s::text, left(%(table)s::text, 100), left(%(record)s::text, 255), %(kind)s::text, %(source)s::text::jsonb, %(target)s::text::jsonb,
       %(strategy)s::text, %(resolved)s::text::jsonb,
       CASE WHEN %(is_resolved)s::boolean THEN now() END, CASE WHEN %(is_resolved)s::boolean THEN 'replication' END, %(notes)s::text
 WHERE NOT EXISTS (
       SELECT FROM sync_metadata.conflict_log seen
        WHERE seen.client_name = %(client)s::text AND seen.table_name = left(%(table)s::text, 100)
          AND seen.record_id = left(%(record)s::text, 255)
          AND seen.resolution_strategy = %(strategy)s::text AND seen.resolution_strategy IN ('manual', 'target_wins')
          AND seen.source_data IS NOT DISTINCT FROM %(source)s::text::jsonb
          AND seen.target_data IS NOT DISTINCT FROM %(target)s::text::jsonb);
