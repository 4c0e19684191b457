-- The people who work in the admin's pages, and their sessions.

-- An address is a name here: nothing is sent to it. A disabled operator is kept for the history.
CREATE TABLE operators (
    operator_id         uuid           NOT NULL PRIMARY KEY,
    email               text COLLATE "C" NOT NULL UNIQUE
                                       CONSTRAINT email_is_normal
                                       CHECK (char_length(email) BETWEEN 3 AND 190
                                              AND email = lower(email) AND strpos(email, '@') > 1),
    name                text           CONSTRAINT name_is_short CHECK (char_length(name) BETWEEN 1 AND 100),
    role                text           NOT NULL
                                       CONSTRAINT role_is_known CHECK (role IN ('viewer', 'support', 'admin')),
    password_hash       text           NOT NULL
                                       CONSTRAINT password_is_hashed
                                       CHECK (password_hash LIKE '$argon2id$%' AND char_length(password_hash) <= 300),
    totp_sealed         bytea,                       -- the secret of the second factor; null: none is set up
    totp_last_step      bigint,                      -- the step of the last code that was used; never used again
    created_at          timestamptz(3) NOT NULL,
    password_changed_at timestamptz(3) NOT NULL,
    disabled_at         timestamptz(3),
    CONSTRAINT codes_need_a_secret CHECK (totp_last_step IS NULL OR totp_sealed IS NOT NULL)
);

CREATE INDEX operators_newest ON operators (created_at, operator_id);

-- Only a digest of a session's token is kept. A session ends when it is revoked, at expires_at, or when nobody
-- used it for a while; a used one says so at most once a minute.
CREATE TABLE operator_sessions (
    token_sha256 bytea          NOT NULL PRIMARY KEY
                                CONSTRAINT digest_is_sha256 CHECK (octet_length(token_sha256) = 32),
    session_id   uuid           NOT NULL UNIQUE,
    operator_id  uuid           NOT NULL REFERENCES operators,
    created_at   timestamptz(3) NOT NULL,
    last_seen_at timestamptz(3) NOT NULL,
    expires_at   timestamptz(3) NOT NULL,
    revoked_at   timestamptz(3),
    remote_addr  text           CONSTRAINT address_is_short CHECK (char_length(remote_addr) <= 100),
    user_agent   text           CONSTRAINT user_agent_is_short CHECK (char_length(user_agent) <= 200),
    CONSTRAINT sessions_end CHECK (expires_at > created_at)
);

CREATE INDEX operator_sessions_of_operator ON operator_sessions (operator_id, created_at, session_id);
