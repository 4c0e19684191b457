-- Only an index's owner may move its pending entries, and the service owns nothing.

CREATE FUNCTION tidy_orders_search() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public
AS $$ SELECT gin_clean_pending_list(to_regclass('public.orders_search')) $$;
