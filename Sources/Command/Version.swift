/// The version of these programs; CHANGELOG.md tells what is in it.
public let stmountVersion = "0.1.0"
