-- A delivery is written three times on its way, and every index of it with it: the fewer, the more of them a second.

-- The unique key leads with the event, which spares the index by event.
ALTER TABLE webhook_deliveries ADD UNIQUE (account_id, event_id, endpoint_id);
ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_account_id_endpoint_id_event_id_key;
DROP INDEX webhook_deliveries_of_event;

-- The list of all deliveries of an endpoint is put together from those of its statuses.
DROP INDEX webhook_deliveries_of_endpoint;

-- Room for an attempt's end beside its beginning, which spares its index.
ALTER TABLE webhook_attempts SET (fillfactor = 50);
