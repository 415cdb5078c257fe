import Linux
import SystemPackage

/// The command that this process was called by, and its arguments.
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

  /// A name that is not known is left to the parser of the arguments, which refuses the option.
  private static var option: String? {
    guard let first = Arguments.all.dropFirst().first else { return nil }
    return names.first { first == "--command=\($0)" }
  }
}
