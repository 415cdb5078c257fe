/// The version of this program; CHANGELOG.md tells what is in it.
let stmountVersion = "0.1.0"
