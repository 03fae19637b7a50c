-- name: enqueue
-- A job waits for the leader; the same one waiting already is the answer.
INSERT INTO sync_metadata.sync_jobs
       (deployment_id, client_name, status, sync_type, triggered_by, queued_at, started_at, metadata)
SELECT d.deployment_id, d.client_name, 'queued', %(sync_type)s::text, left(%(triggered_by)s::text, 100), clock_timestamp(),
       clock_timestamp(), %(metadata)s::jsonb
  FROM sync_metadata.client_deployments AS d
 WHERE d.client_name = %(client)s
   AND NOT EXISTS (SELECT FROM sync_metadata.sync_jobs AS j
                    WHERE j.client_name = d.client_name AND j.status = 'queued' AND j.sync_type = %(sync_type)s::text)
RETURNING job_id;

-- name: find_queued
-- The job of this kind that waits.
SELECT job_id FROM sync_metadata.sync_jobs
 WHERE client_name = %(client)s AND status = 'queued' AND sync_type = %(sync_type)s
 ORDER BY started_at LIMIT 1;

-- name: list_jobs
-- The latest jobs, of one cluster, one client, or all; those under way first.
SELECT j.job_id, j.client_name, j.status, j.sync_type, j.triggered_by, j.queued_at, j.started_at, j.completed_at,
       j.tables_total, j.tables_synced, j.rows_synced, j.rows_failed, j.duration_seconds::float8 AS duration_seconds,
       j.bytes_transferred, j.error_message, j.node_name, j.term, j.cancel_requested_at
  FROM sync_metadata.sync_jobs AS j
       LEFT JOIN sync_metadata.client_deployments AS d USING (deployment_id)
       LEFT JOIN sync_metadata.hosts AS h ON h.host_id = d.host_id
 WHERE (%(client)s::text IS NULL OR j.client_name = %(client)s)
   AND (%(cluster)s::text IS NULL OR coalesce(h.cluster_name, j.cluster_name) = %(cluster)s)
   AND (%(status)s::text[] IS NULL OR j.status = ANY (%(status)s))
 ORDER BY j.status IN ('queued', 'running') DESC, coalesce(j.completed_at, j.started_at) DESC, j.job_id
 LIMIT %(limit)s;

-- name: find_job
-- One job.
SELECT job_id, client_name, status, sync_type, triggered_by, queued_at, started_at, completed_at, tables_total,
       tables_synced, rows_synced, rows_failed, duration_seconds::float8 AS duration_seconds, bytes_transferred,
       error_message, node_name, term, cancel_requested_at
  FROM sync_metadata.sync_jobs WHERE job_id = %(job_id)s;

-- name: list_progress
-- How far a job's tables are.
SELECT table_name, rows_total, rows_processed, rows_failed, status
  FROM sync_metadata.sync_progress WHERE job_id = %(job_id)s ORDER BY started_at, table_name;

-- name: cancel
-- A waiting job ends at once; a running one is asked to.
UPDATE sync_metadata.sync_jobs
   SET status = CASE status WHEN 'queued' THEN 'cancelled' ELSE status END,
       error_message = CASE status WHEN 'queued' THEN 'cancelled by ' || %(operator)s::text ELSE error_message END,
       cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())
 WHERE status IN ('queued', 'running')
   AND (%(job_id)s::uuid IS NULL OR job_id = %(job_id)s) AND (%(client)s::text IS NULL OR client_name = %(client)s)
RETURNING job_id, status;
