-- What the admin's screens of accounts, webhooks and the audit trail are read by.

CREATE INDEX accounts_by_name ON accounts USING gin (search_form(name) gin_trgm_ops);

CREATE INDEX audit_log_of_actor  ON audit_log (actor, at, audit_id);
CREATE INDEX audit_log_of_action ON audit_log (action, at, audit_id);

-- Endpoints whose last deliveries died, and those that were disabled for it; few, whatever the number of all.
CREATE INDEX webhook_endpoints_failing ON webhook_endpoints (created_at, endpoint_id)
    WHERE deleted_at IS NULL AND (consecutive_failures > 0 OR disabled_at IS NOT NULL);
