-- name: limit_waits
-- For the rest of the transaction, also behind a pooler: a lock, a statement or a stopped process holds nobody up for
-- longer. Says which session this is.
SELECT pg_backend_pid(), set_config('lock_timeout', %(lock_timeout)s, true),
       set_config('statement_timeout', %(statement_timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle_timeout)s, true);

-- name: find_session
-- Which session this is, at this moment.
SELECT pg_backend_pid();

-- name: take_name
-- A node's name is one process's at a time: a new one gets it when the former has stopped, has not been heard of for
-- the lease's time, or has lost its session and had the time to come back.
INSERT INTO sync_metadata.sync_nodes AS n
       (cluster_name, node_name, host_id, boot_id, backend_pid, api_port, version, clock_skew_seconds)
VALUES (%(cluster)s, %(node)s, %(host_id)s, %(boot_id)s, %(pid)s, %(api_port)s, %(version)s, %(skew)s)
ON CONFLICT (cluster_name, node_name) DO UPDATE
   SET host_id = excluded.host_id, boot_id = excluded.boot_id, backend_pid = excluded.backend_pid,
       api_port = excluded.api_port, version = excluded.version, clock_skew_seconds = excluded.clock_skew_seconds,
       started_at = clock_timestamp(), last_heartbeat = clock_timestamp(), stopped_at = NULL,
       leader_seen = NULL, term_seen = NULL
 WHERE n.boot_id = excluded.boot_id OR n.stopped_at IS NOT NULL
    OR n.last_heartbeat < clock_timestamp() - make_interval(secs => %(ttl_s)s)
    OR (n.backend_pid IS NOT NULL AND excluded.backend_pid IS NOT NULL
        AND n.last_heartbeat < clock_timestamp() - make_interval(secs => %(grace_s)s)
        AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = n.backend_pid))
RETURNING last_event;

-- name: beat
-- This node lives, and this is what it thinks; no row where another process has its name.
UPDATE sync_metadata.sync_nodes
   SET last_heartbeat = clock_timestamp(), backend_pid = %(pid)s, clock_skew_seconds = %(skew)s,
       leader_seen = %(leader_seen)s, term_seen = %(term_seen)s, last_event = greatest(last_event, %(last_event)s)
 WHERE cluster_name = %(cluster)s AND node_name = %(node)s AND boot_id = %(boot_id)s AND stopped_at IS NULL
RETURNING clock_timestamp();

-- name: beat_host
-- The machine is alive when any of its nodes is.
UPDATE sync_metadata.hosts SET last_heartbeat = clock_timestamp(), status = CASE status WHEN 'offline' THEN 'active' ELSE status END
 WHERE host_id = %(host_id)s AND last_heartbeat < clock_timestamp() - interval '10 seconds';

-- name: stop
-- The name is free again.
UPDATE sync_metadata.sync_nodes SET stopped_at = clock_timestamp(), backend_pid = NULL
 WHERE cluster_name = %(cluster)s AND node_name = %(node)s AND boot_id = %(boot_id)s;

-- name: find_heartbeat
-- How long ago a node that has not stopped was last heard of, in seconds.
SELECT extract(epoch FROM clock_timestamp() - last_heartbeat)::float8
  FROM sync_metadata.sync_nodes
 WHERE cluster_name = %(cluster)s AND node_name = %(wanted)s AND stopped_at IS NULL;

-- name: await_session_lock
-- The cluster's lock, which ends with its session. Asks again and again instead of waiting in line: a wait that times
-- out is an error in the server's log, every second of a standby's life.
WITH RECURSIVE attempt (held, until) AS (
    SELECT pg_try_advisory_lock(hashtextextended('client-manager cluster ' || %(cluster)s::text, 0)),
           clock_timestamp() + make_interval(secs => %(wait_s)s)
    UNION ALL
    SELECT pg_try_advisory_lock(hashtextextended('client-manager cluster ' || %(cluster)s::text, 0)), a.until
      FROM attempt AS a CROSS JOIN LATERAL pg_sleep(least(%(pause_s)s, extract(epoch FROM a.until - clock_timestamp())))
     WHERE NOT a.held AND clock_timestamp() < a.until
)
SELECT bool_or(held) FROM attempt;

-- name: release_session_lock
-- Whoever waits for it has it.
SELECT pg_advisory_unlock(hashtextextended('client-manager cluster ' || %(cluster)s::text, 0));

-- name: lock_lease
-- The lease as it is, held until the end of the transaction.
SELECT leader_id, leader_name, term, backend_pid, expires_at <= clock_timestamp() AS expired, wanted_name,
       extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
  FROM sync_metadata.leader_election WHERE cluster_name = %(cluster)s FOR UPDATE;

-- name: peek_lease
-- The lease as it is.
SELECT leader_id, leader_name, term, backend_pid, expires_at <= clock_timestamp() AS expired, wanted_name,
       extract(epoch FROM expires_at - clock_timestamp())::float8 AS seconds_left
  FROM sync_metadata.leader_election WHERE cluster_name = %(cluster)s;

-- name: acquire_lease
-- A new term, larger than any before: also than one of which a restored database or a deregistered cluster knows
-- nothing any more, hence the clock's seconds. While a switch-over is wanted, only the wanted node gets it.
INSERT INTO sync_metadata.leader_election AS l
       (cluster_name, leader_id, leader_name, leader_host_id, acquired_at, expires_at, heartbeat_count, term, backend_pid)
VALUES (%(cluster)s, %(node_id)s, %(node)s, %(host_id)s, clock_timestamp(),
        clock_timestamp() + make_interval(secs => %(ttl_s)s), 1,
        greatest(%(floor)s, extract(epoch FROM clock_timestamp())::bigint), %(pid)s)
ON CONFLICT (cluster_name) DO UPDATE
   SET leader_id = excluded.leader_id, leader_name = excluded.leader_name, leader_host_id = excluded.leader_host_id,
       acquired_at = excluded.acquired_at, expires_at = excluded.expires_at, heartbeat_count = 1,
       term = greatest(l.term + 1, excluded.term), backend_pid = excluded.backend_pid, wanted_name = NULL, wanted_at = NULL
 WHERE (l.expires_at <= clock_timestamp() OR %(session_is_gone)s OR l.leader_id = excluded.leader_id)
   AND (l.wanted_name IS NULL OR l.wanted_name = excluded.leader_name
        OR l.wanted_at < clock_timestamp() - make_interval(secs => %(ttl_s)s))
RETURNING term;

-- name: renew_lease
-- Longer, while nobody else has taken it; says whether somebody wants another leader.
UPDATE sync_metadata.leader_election
   SET expires_at = clock_timestamp() + make_interval(secs => %(ttl_s)s), heartbeat_count = heartbeat_count + 1,
       backend_pid = %(pid)s
 WHERE cluster_name = %(cluster)s AND leader_id = %(node_id)s AND term = %(term)s
RETURNING wanted_name;

-- name: release_lease
-- Now, instead of when it runs out.
UPDATE sync_metadata.leader_election SET expires_at = clock_timestamp()
 WHERE cluster_name = %(cluster)s AND leader_id = %(node_id)s AND term = %(term)s AND expires_at > clock_timestamp();

-- name: end_sessions_of
-- The sessions of a node that leads no more: what one of them has under way ends with it.
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE usename = current_user AND application_name = %(node_id)s AND pid <> pg_backend_pid();

-- name: end_session
-- An earlier session of this very process, which the server has not missed yet.
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
 WHERE pid = %(former_pid)s AND usename = current_user AND application_name = %(node_id)s AND pid <> pg_backend_pid();

-- name: end_lock_holder
-- The session that still holds the cluster's lock although its lease has run out.
SELECT count(pg_terminate_backend(l.pid))
  FROM pg_locks AS l
 WHERE l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND ((l.classid::bigint << 32) | l.objid::bigint)
       = hashtextextended('client-manager cluster ' || %(cluster)s::text, 0) AND l.objsubid = 1;

-- name: highest_fence
-- A term below this one could write nothing.
SELECT coalesce(max(s.fence), 0)
  FROM sync_metadata.client_deployments AS d
       JOIN sync_metadata.hosts AS h USING (host_id)
       JOIN sync_metadata.replication_state AS s ON s.client_name = d.client_name
 WHERE h.cluster_name = %(cluster)s;

-- name: raise_fences
-- From here on no earlier term writes to a client of the cluster; waits for what is being committed.
INSERT INTO sync_metadata.replication_state AS s (client_name, fence)
SELECT d.client_name, %(term)s
  FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE h.cluster_name = %(cluster)s
   AND NOT EXISTS (SELECT FROM sync_metadata.replication_state AS r
                    WHERE r.client_name = d.client_name AND r.fence >= %(term)s)
ON CONFLICT (client_name) DO UPDATE SET fence = excluded.fence WHERE s.fence < excluded.fence;

-- name: close_orphans
-- Jobs of earlier terms that nobody works on any more.
UPDATE sync_metadata.sync_jobs AS j
   SET status = CASE WHEN j.cancel_requested_at IS NULL THEN 'failed' ELSE 'cancelled' END,
       error_message = 'its node stopped or lost the lead (term ' || j.term || ')'
  FROM sync_metadata.client_deployments AS d JOIN sync_metadata.hosts AS h USING (host_id)
 WHERE d.client_name = j.client_name AND h.cluster_name = %(cluster)s AND j.status = 'running' AND j.term < %(term)s
RETURNING j.job_id;

-- name: poll
-- What is new: the last event, the jobs that wait, and those of this node that somebody wants to end.
SELECT (SELECT coalesce(max(event_number), 0) FROM sync_metadata.cache_events) AS last_event,
       ARRAY(SELECT j.job_id FROM sync_metadata.sync_jobs AS j
                    JOIN sync_metadata.client_deployments AS d ON d.client_name = j.client_name
                    JOIN sync_metadata.hosts AS h ON h.host_id = d.host_id
              WHERE j.status = 'queued' AND h.cluster_name = %(cluster)s
              ORDER BY j.started_at LIMIT 100) AS queued,
       ARRAY(SELECT j.job_id FROM sync_metadata.sync_jobs AS j
              WHERE j.status = 'running' AND j.cancel_requested_at IS NOT NULL AND j.term = %(term)s) AS cancelled;

-- name: list_events
-- The events since one, of this cluster and without a cluster.
SELECT event_number, cache_key, action FROM sync_metadata.cache_events
 WHERE event_number > %(after)s ORDER BY event_number LIMIT 1000;

-- name: close_stale_job
-- A client's job of another run that was cut off gives way to the next; its files' lock was free.
UPDATE sync_metadata.sync_jobs SET status = 'failed', error_message = 'cut off'
 WHERE client_name = %(client)s AND status = 'running' AND (term IS NULL OR term < %(term)s);

-- name: claim_job
-- The leader takes a waiting job, if it leads yet and nobody else has taken it.
UPDATE sync_metadata.sync_jobs
   SET status = 'running', started_at = clock_timestamp(), node_name = %(node)s, term = %(term)s,
       metadata = metadata || '{"by": "node"}'
 WHERE job_id = (SELECT job_id FROM sync_metadata.sync_jobs
                  WHERE job_id = %(job_id)s AND status = 'queued' FOR UPDATE SKIP LOCKED)
   AND EXISTS (SELECT FROM sync_metadata.leader_election
                WHERE cluster_name = %(cluster)s AND leader_id = %(node_id)s AND term = %(term)s)
RETURNING client_name, sync_type, triggered_by;

-- name: find_queued_client
-- Whose job it is.
SELECT client_name FROM sync_metadata.sync_jobs WHERE job_id = %(job_id)s AND status = 'queued';

-- name: end_job
-- A job that the run itself has not ended.
UPDATE sync_metadata.sync_jobs
   SET status = %(status)s, error_message = %(error)s
 WHERE job_id = %(job_id)s AND status = 'running' AND term = %(term)s;

-- name: record_outcomes
-- When clients were looked at, how that went, and when again, all in seconds from now; by the leader of this term only.
-- A client's row that somebody else has locked waits for the next time, and no other client with it.
UPDATE sync_metadata.client_deployments AS d
   SET last_sync_at = coalesce(clock_timestamp() - make_interval(secs => o.age_s), d.last_sync_at),
       last_sync_status = coalesce(o.status, d.last_sync_status),
       next_sync_at = coalesce(clock_timestamp() + make_interval(secs => o.next_in_s), d.next_sync_at)
  FROM unnest(%(clients)s::text[], %(ages_s)s::float8[], %(statuses)s::text[], %(next_in_s)s::float8[])
       AS o (client_name, age_s, status, next_in_s)
 WHERE d.client_name = o.client_name
   AND d.client_name IN (SELECT free.client_name FROM sync_metadata.client_deployments AS free
                          WHERE free.client_name = ANY (%(clients)s::text[]) FOR UPDATE SKIP LOCKED)
   AND EXISTS (SELECT FROM sync_metadata.leader_election
                WHERE cluster_name = %(cluster)s AND leader_id = %(node_id)s AND term = %(term)s)
RETURNING d.client_name;
