-- name: list_clients
-- The clients of a machine as its nodes need them: when they are due, and what their replicas are. All times in seconds
-- from now, by the server's clock.
SELECT d.client_name, coalesce(d.sync_interval, 300) AS interval_s, coalesce(d.config, '{}') AS config,
       coalesce(d.sync_enabled, false) AND d.status = 'active' AS is_active,
       extract(epoch FROM d.next_sync_at - clock_timestamp())::float8 AS due_in_s,
       extract(epoch FROM clock_timestamp() - d.last_sync_at)::float8 AS synced_age_s,
       extract(epoch FROM clock_timestamp() - s.verified_at)::float8 AS verified_age_s,
       coalesce(s.generation, 0) AS generation, s.mark ->> 'token' AS token,
       coalesce(s.status = 'ok', false) AND n.oid IS NOT NULL AS is_settled, n.oid IS NOT NULL AS has_schema
  FROM sync_metadata.client_deployments AS d
       LEFT JOIN sync_metadata.replication_state AS s ON s.client_name = d.client_name
       LEFT JOIN pg_namespace AS n ON n.nspname = d.client_name::name
 WHERE d.host_id = %(host_id)s
 ORDER BY d.client_name;

-- name: find_waiting
-- Whose job it is, and of which kind.
SELECT client_name, sync_type FROM sync_metadata.sync_jobs WHERE job_id = %(job_id)s AND status = 'queued';

-- name: find_running
-- Whose job of this term it is.
SELECT client_name FROM sync_metadata.sync_jobs WHERE job_id = %(job_id)s AND status = 'running' AND term = %(term)s;

-- name: find_session
-- The server's process of this session.
SELECT pg_backend_pid();
