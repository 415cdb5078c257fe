/// The version of these programs; CHANGELOG.md tells what is in it.
let stmountVersion = "0.1.0"
