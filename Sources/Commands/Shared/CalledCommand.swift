import Linux
import SystemPackage

/// The name by which this process was called, and its arguments.
///
/// Packages that cannot hold links, as Python's wheels, call the executable with `--command=NAME` before all other arguments.
enum CalledCommand {
  private static let names = ["stmount", "stcat", "stdiff", "stls", "stpack", "stunpack"]

  /// NAME of `--command=NAME`; otherwise the last component of `argv[0]`.
  static var name: String? {
    option ?? FilePath(argument: Arguments.all.first ?? "").lastComponent?.string
  }

  /// The arguments of that command.
  static var arguments: ArraySlice<String> { Arguments.all.dropFirst(option == nil ? 1 : 2) }

  /// Nil for an unknown name: the parser of the arguments then refuses the option.
  private static var option: String? {
    guard let first = Arguments.all.dropFirst().first else { return nil }
    return names.first { first == "--command=\($0)" }
  }
}
