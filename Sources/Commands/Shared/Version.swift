/// The version of these programs; CHANGELOG.md lists its changes.
let stmountVersion = "0.2.0"
