-- name: list_logged
-- The rows of a client about which something is decided, or waits for a decision; and whether an operator has decided.
SELECT table_name, record_id, bool_or(resolved_by IS NOT NULL AND resolved_by <> 'replication')
  FROM sync_metadata.conflict_log
 WHERE client_name = %(client)s AND record_id IS NOT NULL AND (resolved_at IS NULL OR resolution_strategy = 'target_wins')
 GROUP BY table_name, record_id;

-- name: find_decision
-- What an operator has decided of a row: the source's is to be brought over, or the replica's stands as long as both
-- sides are what was decided about.
SELECT log_id, resolution_strategy
  FROM sync_metadata.conflict_log
 WHERE client_name = %(client)s AND table_name = left(%(table)s::text, 100) AND record_id = left(%(record)s::text, 255)
   AND resolved_by IS DISTINCT FROM 'replication'
   AND (resolution_strategy = 'source_wins' AND resolved_at IS NULL AND resolved_by IS NOT NULL
        OR resolution_strategy = 'target_wins' AND resolved_at IS NOT NULL
           AND source_data IS NOT DISTINCT FROM %(source)s::text::jsonb
           AND target_data IS NOT DISTINCT FROM %(target)s::text::jsonb)
 ORDER BY resolved_at IS NULL DESC, detected_at DESC
 LIMIT 1;

-- name: find_standing
-- Whether a row may differ in exactly this way: it was let stand, or waits for the operator.
SELECT resolution_strategy
  FROM sync_metadata.conflict_log
 WHERE client_name = %(client)s AND table_name = left(%(table)s::text, 100) AND record_id = left(%(record)s::text, 255)
   AND (resolution_strategy = 'target_wins' OR resolution_strategy = 'manual' AND resolved_at IS NULL)
   AND source_data IS NOT DISTINCT FROM %(source)s::text::jsonb
   AND target_data IS NOT DISTINCT FROM %(target)s::text::jsonb
 ORDER BY resolved_at IS NULL DESC
 LIMIT 1;

-- name: settle_decided
-- What the operator has decided is done, in the transaction of the row.
UPDATE sync_metadata.conflict_log
   SET resolved_at = clock_timestamp(), resolved_data = %(source)s::jsonb,
       resolution_notes = concat_ws('; ', resolution_notes, 'the row of the source was brought over')
 WHERE log_id = %(log_id)s;

-- name: settle_equal
-- Open conflicts of rows that a comparison of everything has found equal; a deposed node has no say.
UPDATE sync_metadata.conflict_log AS c
   SET resolved_at = clock_timestamp(), resolved_by = coalesce(c.resolved_by, 'replication'),
       resolution_notes = concat_ws('; ', c.resolution_notes, 'both sides are equal meanwhile')
 WHERE c.client_name = %(client)s AND c.resolved_at IS NULL
   AND NOT EXISTS (SELECT FROM unnest(%(tables)s::text[], %(records)s::text[]) AS d (table_name, record_id)
                    WHERE c.table_name = left(d.table_name, 100)
                      AND c.record_id IS NOT DISTINCT FROM left(d.record_id, 255))
   AND EXISTS (SELECT FROM sync_metadata.replication_state AS s
                WHERE s.client_name = c.client_name AND s.fence <= %(term)s);

-- name: lock_conflict
-- One conflict, held until the end of the transaction.
SELECT log_id, client_name, table_name, record_id, conflict_type, resolution_strategy, detected_at, resolved_at,
       resolved_by, resolution_notes, source_data, target_data
  FROM sync_metadata.conflict_log WHERE log_id = %(log_id)s FOR UPDATE;

-- name: find_conflict
-- One conflict.
SELECT log_id, client_name, table_name, record_id, conflict_type, resolution_strategy, detected_at, resolved_at,
       resolved_by, resolution_notes, source_data, target_data
  FROM sync_metadata.conflict_log WHERE log_id = %(log_id)s;

-- name: list_column_order
-- The columns of a replica's table in their order.
SELECT a.attname
  FROM pg_namespace n
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE n.nspname = %(client)s AND left(c.relname, 100) = %(table)s
 ORDER BY a.attnum;

-- name: decide_source
-- The row of the source is to be brought over; that it has been is said by the run that does it.
UPDATE sync_metadata.conflict_log
   SET resolution_strategy = 'source_wins', resolved_by = left(%(operator)s::text, 100),
       resolution_notes = concat_ws('; ', resolution_notes, 'decided for the source')
 WHERE log_id = %(log_id)s AND resolved_at IS NULL;

-- name: decide_target
-- The row of the replica stands, as long as both sides are what they are here.
UPDATE sync_metadata.conflict_log
   SET resolution_strategy = 'target_wins', resolved_by = left(%(operator)s::text, 100), resolved_at = clock_timestamp(),
       resolved_data = target_data, resolution_notes = concat_ws('; ', resolution_notes, 'decided for the replica')
 WHERE log_id = %(log_id)s AND resolved_at IS NULL;

-- name: lock_strategies
-- The strategies of a client's tables, and the tables that it has, held until the end of the transaction.
SELECT s.conflict_strategies, coalesce(s.mark -> 'tables', '[]')
  FROM sync_metadata.replication_state AS s WHERE s.client_name = %(client)s FOR UPDATE;

-- name: find_strategies
-- The strategies of a client's tables, and the tables that it has.
SELECT s.conflict_strategies, coalesce(s.mark -> 'tables', '[]')
  FROM sync_metadata.replication_state AS s WHERE s.client_name = %(client)s;

-- name: set_strategies
-- Taken into account by the next comparison.
UPDATE sync_metadata.replication_state SET conflict_strategies = %(strategies)s::jsonb WHERE client_name = %(client)s;

-- name: finish_verification
-- A comparison that was asked for has ended: what it found of its own, how much of that is settled, and where.
UPDATE sync_metadata.sync_jobs
   SET status = 'success', conflicts_detected = %(detected)s, conflicts_resolved = %(resolved)s, rows_synced = %(rows)s,
       error_details = %(details)s::jsonb
 WHERE job_id = %(job_id)s AND status = 'running' AND term = %(term)s
RETURNING job_id;

-- name: finish_progress
-- All of its tables are compared.
UPDATE sync_metadata.sync_progress SET status = 'success', completed_at = clock_timestamp()
 WHERE job_id = %(job_id)s AND status = 'running';

-- name: find_verification
-- How a comparison that was asked for went.
SELECT j.job_id, j.client_name, j.status, j.conflicts_detected, j.conflicts_resolved, j.rows_synced, j.error_message,
       j.duration_seconds::float8, j.error_details, s.verified_at
  FROM sync_metadata.sync_jobs AS j LEFT JOIN sync_metadata.replication_state AS s ON s.client_name = j.client_name
 WHERE j.job_id = %(job_id)s;
