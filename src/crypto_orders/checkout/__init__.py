"""The page on which a payer pays one order: no login, its address is the capability."""
