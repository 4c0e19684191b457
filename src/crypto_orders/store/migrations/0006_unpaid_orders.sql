-- An account's limits are counted while its row is locked, so that starts that come at once cannot pass together.
-- In a function the counting is a statement of its own: it sees what the lock waited for, and a start stays one
-- statement and one transaction.

CREATE FUNCTION unpaid_orders(
    of_account uuid, open_max integer, per_day_max integer, OUT open_orders bigint, OUT unpaid_today bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    open_orders := 0;
    unpaid_today := 0;
    IF open_max > 0 OR per_day_max > 0 THEN
        PERFORM FROM accounts WHERE account_id = of_account FOR NO KEY UPDATE;
    END IF;
    IF open_max > 0 THEN
        SELECT count(*) INTO open_orders
          FROM (SELECT FROM orders WHERE account_id = of_account AND status = 'pending' LIMIT open_max) AS x;
    END IF;
    IF per_day_max > 0 THEN
        SELECT count(*) INTO unpaid_today
          FROM (SELECT FROM orders
                 WHERE account_id = of_account AND created_at > clock_timestamp() - interval '24 hours'
                   AND status IN ('pending', 'cancelled', 'failed')
                 LIMIT per_day_max) AS x;
    END IF;
END
$$;
