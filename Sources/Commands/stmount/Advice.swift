import FUSE
import Glibc
import Safetensors
import SystemPackage

/// Advice for command lines that look like another program's.
enum Advice {
  /// Words that users try as the first argument, and the command that does it.
  private static let subcommands: [String: String] = [
    "cat": "stcat SOURCE NAME", "diff": "stdiff A B", "help": "stmount --help", "list": "stmount --list",
    "ls": "stls SOURCE", "mount": "stmount SOURCE MOUNTPOINT", "pack": "stpack INPUT -o OUT",
    "umount": "stmount -u MOUNTPOINT", "unmount": "stmount -u MOUNTPOINT",
    "unpack": "stunpack SOURCE DIRECTORY",
    "version": "stmount --version",
  ]

  /// The problem with a first argument that is a subcommand of other programs; nil if such a file exists.
  static func subcommand(_ word: String?) -> String? {
    guard let word, let command = subcommands[word], (try? Stat(FilePath(argument: word))) == nil else {
      return nil
    }
    return "stmount has no subcommands: use '\(command)'"
  }

  /// The problem with a mount option that was given without `-o`, such as `--allow-other`.
  static func mountOption(_ arguments: [String]) -> String? {
    for argument in arguments.prefix(while: { $0 != "--" }) where argument.hasPrefix("--") {
      let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1)
      guard let name = parts.first?.replacing("-", with: "_") else { continue }
      if MountOptions.names.contains(where: { $0.name == name }) {
        let value = parts.count == 2 ? "=\(parts[1])" : ""
        return "'\(argument)' is a mount option: give it as '-o \(name)\(value)'"
      }
    }
    return nil
  }

  /// The end of the message about a mount option that is unknown: the one that was probably meant.
  static func nearestMountOption(to option: String) -> String {
    let given = MountOptions.parts(of: option).name
    let name = given.replacing("-", with: "_").lowercased()
    let names = MountOptions.names + Invocation.ownOptions
    if names.contains(where: { $0.name == given }) { return "" }
    let nearest = NearestNames.nearest(to: Array(name.utf8), among: names.map { Array($0.name.utf8)[...] })
    guard let nearest, nearest.distance <= min(2, name.count / 2) else { return "" }
    return "; did you mean '\(String(decoding: nearest.name, as: UTF8.self))'?"
  }

  /// The completions of -o: the options so far, followed by each that can come after the last comma.
  static func completions(of list: String) -> [String] {
    let begun = list.lastIndex(of: ",").map { list[...$0] } ?? ""
    return (MountOptions.names + Invocation.ownOptions).map { begun + $0.name + ($0.hasValue ? "=" : "") }
  }
}
