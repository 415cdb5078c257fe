import ArgumentParser

/// The script by which a shell completes a command's line: `--generate-completion-script`.
///
/// swift-argument-parser 1.8.2 gives every command without subcommands the subcommand `help`, which the command does not have. zsh
/// completes nothing at all where the command takes any number of arguments, and all shells offer `help` as an argument.
enum CompletionScript {
  /// The option that prints it.
  static let option = "--generate-completion-script"

  /// Parts of lines that are about the subcommand alone.
  private static let surplus = [
    "'(-): :->command'", "'(-)*:: :->arg'", "Show subcommand help information.'", "compgen -W 'help' ",
  ]

  /// A generated script without the subcommand.
  static func corrected(_ script: String) -> String {
    script.split(separator: "\n", omittingEmptySubsequences: false)
      .filter { line in !surplus.contains { line.contains($0) } }.joined(separator: "\n")
  }
}
