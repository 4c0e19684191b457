-- An endpoint is in trouble from its first attempt that fails until one succeeds, not only once deliveries have died.
-- The word is a column of its own, so that its index holds the few in trouble, and so that noting a success of one
-- that is well touches no index.
ALTER TABLE webhook_endpoints
    ADD COLUMN failing boolean NOT NULL GENERATED ALWAYS AS (
        deleted_at IS NULL
        AND (disabled_at IS NOT NULL
             OR consecutive_failures > 0
             OR (active AND last_failure_at IS NOT NULL
                 AND (last_success_at IS NULL OR last_failure_at > last_success_at)))) STORED;

DROP INDEX webhook_endpoints_failing;
CREATE INDEX webhook_endpoints_failing ON webhook_endpoints (created_at, endpoint_id) WHERE failing;
