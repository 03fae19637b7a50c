-- A job may wait for the leader, and one client has one running job. The predecessor left jobs running that no node
-- works on: of those only the newest of a client stays, the others end as failed.

UPDATE sync_metadata.sync_jobs AS j
   SET status = 'failed',
       error_message = coalesce(j.error_message, 'It was still marked as running when a later job began.')
 WHERE j.status = 'running'
   AND EXISTS (SELECT FROM sync_metadata.sync_jobs AS later
                WHERE later.client_name = j.client_name AND later.status = 'running'
                  AND (coalesce(later.started_at, '-infinity'), later.job_id)
                      > (coalesce(j.started_at, '-infinity'), j.job_id));

ALTER TABLE sync_metadata.sync_jobs
    DROP CONSTRAINT sync_jobs_status_check,
    ADD CONSTRAINT sync_jobs_status_check
        CHECK (status IN ('queued', 'running', 'success', 'failed', 'cancelled'));

CREATE UNIQUE INDEX sync_jobs_one_running ON sync_metadata.sync_jobs (client_name) WHERE status = 'running';

CREATE INDEX idx_sync_jobs_queued ON sync_metadata.sync_jobs (started_at) WHERE status = 'queued';

CREATE OR REPLACE FUNCTION sync_metadata.update_job_completion() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    IF OLD.status IN ('queued', 'running') AND NEW.status IN ('success', 'failed', 'cancelled') THEN
        NEW.completed_at := coalesce(NEW.completed_at, clock_timestamp());
        NEW.duration_seconds := extract(epoch FROM NEW.completed_at - NEW.started_at);
    END IF;
    RETURN NEW;
END
$$;
