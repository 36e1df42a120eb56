//! B05xx and B06xx: variables, credentials, bases and `--set`.

use super::codes;

codes! {
    NOT_SET = "B0501", "a variable that is not set",
        "`${NAME}` is replaced by the environment variable; `${NAME:-default}` has a default for when it is unset or empty, `${NAME:?message}` a message of your own.",
        bad: "[labels]\nhost = \"${HOST_LABEL}\"", good: "[labels]\nhost = \"${HOST_LABEL:-unknown}\"";
    BAD_VARIABLE = "B0502", "a `${` that is no variable",
        "The forms are `${NAME}`, `${NAME:-default}` and `${NAME:?message}`; names are letters, digits and `_`. A literal `${` is written `$${`.",
        bad: "[labels]\nnote = \"${HOST-x}\"", good: "[labels]\nnote = \"$${HOST-x}\"";
    SECRET_VARIABLE = "B0503", "a secret pulled into the scenario",
        "Values of `${…}` are stored in the plan and the report, so a variable whose name says KEY, TOKEN, SECRET, PASSWORD or CREDENTIAL may not be used. Give `bench` a reference instead: `api_key = { env = \"…\" }` or `secret_headers`.",
        bad: "# env: HF_TOKEN=hf_s3cr3t\n[labels]\nowner = \"${HF_TOKEN}\"",
        good: "[backends.main]\nsecret_headers.x-hf-token = { env = \"HF_TOKEN\" }";
    CREDENTIAL_VARIABLE = "B0504", "a variable where a credential stands",
        "Credential positions (authentication headers, user and password or a key-like parameter of a URL) accept only references, which are read when requests are sent and stored nowhere.",
        bad: "# env: LOGIN=s3cr3t\n[backends.main.headers]\nAuthorization = \"${LOGIN}\"",
        good: "[backends.main.secret_headers]\nAuthorization = { env = \"LOGIN\", prefix = \"Bearer \" }";
    LITERAL_CREDENTIAL = "B0505", "a credential written into the scenario",
        "Scenarios are reviewed, committed and copied into reports. Put the credential into the environment or a file and refer to it.",
        bad: "[backends.main]\nurl = \"http://me:s3cr3t@localhost:8000\"",
        good: "[backends.main]\nurl = \"http://localhost:8000\"\nsecret_headers.authorization = { env = \"LOGIN\", prefix = \"Basic \" }";
    BASE_UNREADABLE = "B0601", "a base that cannot be read",
        "`extends` is a path relative to the file it stands in.",
        bad: "schema = 1\nextends = \"minimum.toml\"", good: "schema = 1\nextends = \"minimal.toml\"";
    BASE_CYCLE = "B0602", "a base that leads back to itself",
        "Following `extends` must end at a file without one.",
        bad: "schema = 1\nextends = \"root.toml\"", good: "schema = 1\nextends = \"minimal.toml\"";
    BAD_SET = "B0603", "a `--set` that cannot be read",
        "The form is `--set key.path=value` with a TOML value, such as `--set load.rate_per_s=4` or `--set 'name=\"night run\"'`. Quotes may be left out for a single word.",
        bad: "# set: load.rate_per_s", good: "# set: load.rate_per_s=4";
    NO_SUCH_PATH = "B0604", "a `--set` path that leads nowhere",
        "Each part of the path is a key, or the `name` of an array entry: `traffic.base.weight`.",
        bad: "# set: traffic.bsae.weight=2", good: "# set: traffic.base.weight=2";
    NOT_SETTABLE = "B0605", "a key that `--set` cannot change",
        "`schema` and `extends` say how the file is read and are settled before `--set` applies.",
        bad: "# set: extends=other.toml", good: "# set: seed=7";
}
