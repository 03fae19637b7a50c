-- name: set_transaction
-- For one transaction: rows that a policy would hide are an error instead, and nobody is waited for longer than this.
SELECT set_config('row_security', 'off', true), set_config('search_path', 'pg_catalog', true),
       set_config('lock_timeout', %(lock_timeout)s::text, true), set_config('statement_timeout', '0', true);

-- name: find_traces
-- What there is of a client: its record, its jobs, its replica and what is kept beside it.
SELECT d.deployment_id, h.cluster_name, h.hostname, coalesce(d.sync_enabled, false) AS sync_enabled, d.status,
       (SELECT count(*) FROM sync_metadata.sync_jobs WHERE client_name = %(client)s AND status = 'running') AS running,
       (SELECT count(*) FROM sync_metadata.sync_jobs WHERE client_name = %(client)s AND status = 'queued') AS queued,
       (SELECT count(*) FROM sync_metadata.sync_jobs WHERE client_name = %(client)s) AS jobs,
       (SELECT count(*) FROM sync_metadata.conflict_log WHERE client_name = %(client)s) AS conflicts,
       (SELECT count(*) FROM sync_metadata.quarantine WHERE client_name = %(client)s) AS originals,
       s.generation, coalesce(s.mark -> 'tables', '[]') AS tables,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = %(client)s) AS has_schema,
       (SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint
          FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
         WHERE n.nspname = %(client)s AND c.relkind IN ('r', 'm')) AS replica_bytes,
       EXISTS (SELECT FROM pg_roles WHERE rolname = %(owner)s) AS has_owner
  FROM (SELECT) AS nothing
       LEFT JOIN sync_metadata.client_deployments AS d ON d.client_name = %(client)s
       LEFT JOIN sync_metadata.hosts AS h ON h.host_id = d.host_id
       LEFT JOIN sync_metadata.replication_state AS s ON s.client_name = %(client)s;

-- name: lock_state
-- No run of it commits until the end; one that is committing is waited for.
SELECT generation FROM sync_metadata.replication_state WHERE client_name = %(client)s FOR UPDATE;

-- name: lock_client
-- Nobody enables, moves or changes it until the end, and no job of it is queued any more.
SELECT deployment_id, coalesce(sync_enabled, false) FROM sync_metadata.client_deployments
 WHERE client_name = %(client)s FOR UPDATE;

-- name: lock_jobs
-- Nobody takes one of them up until the end.
SELECT job_id, status, node_name FROM sync_metadata.sync_jobs
 WHERE client_name = %(client)s AND status IN ('queued', 'running') FOR UPDATE;

-- name: cancel_queued
-- Nobody will ever take them up.
UPDATE sync_metadata.sync_jobs
   SET status = 'cancelled', error_message = 'the client was deregistered'
 WHERE client_name = %(client)s AND status = 'queued';

-- name: delete_client
-- Its history keeps the names; one whose sync is enabled is never deleted.
DELETE FROM sync_metadata.client_deployments
 WHERE client_name = %(client)s AND sync_enabled IS NOT TRUE
RETURNING deployment_id;

-- name: delete_state
-- How far its replica is; with the replica.
DELETE FROM sync_metadata.replication_state WHERE client_name = %(client)s;

-- name: delete_originals
-- What the replica could not hold; with the replica.
DELETE FROM sync_metadata.quarantine WHERE client_name IN (%(client)s, %(load)s);

-- name: blank_conflicts
-- That there were conflicts is history; what stood in the rows is data, and goes with it.
UPDATE sync_metadata.conflict_log
   SET source_data = NULL, target_data = NULL, resolved_data = NULL, resolved_at = coalesce(resolved_at, clock_timestamp()),
       resolution_notes = concat_ws('; ', resolution_notes, 'the data was dropped with its client')
 WHERE client_name = %(client)s AND (source_data, target_data, resolved_data) IS DISTINCT FROM (NULL, NULL, NULL);

-- name: list_owned
-- What a role owns in this database.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid)
  FROM pg_shdepend AS d JOIN pg_roles AS r ON r.oid = d.refobjid
 WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND r.rolname = %(role)s
   AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
 ORDER BY 1;

-- name: count_left
-- What is still there of a client, beside its history.
SELECT (SELECT count(*) FROM sync_metadata.client_deployments WHERE client_name = %(client)s),
       (SELECT count(*) FROM sync_metadata.replication_state WHERE client_name = %(client)s),
       (SELECT count(*) FROM sync_metadata.quarantine WHERE client_name IN (%(client)s, %(load)s)),
       (SELECT count(*) FROM pg_namespace WHERE nspname IN (%(client)s, %(load)s)),
       (SELECT count(*) FROM pg_roles WHERE rolname = %(owner)s);
