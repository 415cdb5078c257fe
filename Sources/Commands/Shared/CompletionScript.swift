import ArgumentParser

/// The script by which a shell completes a command's line: `--generate-completion-script`.
///
/// swift-argument-parser 1.8.2 gives every command without subcommands the subcommand `help`, which the command does not have.
/// Therefore zsh completes nothing if the command takes any number of arguments, and all shells offer `help` as an argument. bash and
/// zsh add a space after each of the mount options, which end in `=` or go on after a comma. They do not know `--option=value`.
enum CompletionScript {
  /// The option that prints it.
  static let option = "--generate-completion-script"

  /// Parts of lines that are about the subcommand alone.
  private static let surplus = [
    "'(-): :->command'", "'(-)*:: :->arg'", "Show subcommand help information.'", "compgen -W 'help' ",
  ]

  /// Parts of lines, and what replaces them.
  private static let replacements = [
    // bash: words end at `=`, too.
    (#"local -r cur="${2}""#, #"local cur="${2}"; [[ "${cur}" == = ]] && cur="#),
    (
      #"local -r prev="${3}""#,
      #"local prev="${3}"; [[ "${prev}" == = ]] && prev="${COMP_WORDS[COMP_CWORD - 2]}""#
    ),
    (
      #"__stmount_add_completions -W "$(__stmount_custom_complete "#,
      #"compopt +o filenames -o nospace 2>/dev/null; __stmount_add_completions -W "$(__stmount_custom_complete "#
    ),
    // zsh.
    (
      #"__stmount_complete "${completions[@]:0:-1}""#,
      #"local -ar options=("${completions[@]:0:-1}"); _describe -V '' options -S ''"#
    ),
  ]

  /// A generated script without these faults.
  static func corrected(_ script: String) -> String {
    script.split(separator: "\n", omittingEmptySubsequences: false)
      .filter { line in !surplus.contains { line.contains($0) } }
      .map { line in withEqualsSigns(replacements.reduce(String(line)) { $0.replacing($1.0, with: $1.1) }) }
      .joined(separator: "\n")
  }

  /// A line of zsh about an option with a value, with the name as `--name=`: the value may follow that, or be the next word.
  private static func withEqualsSigns(_ line: String) -> String {
    guard line.contains("]:"), let bracket = line.firstIndex(of: "[") else { return line }
    let names = String(line[...bracket]).replacing(/([{,'*]--[a-z-]+)(?=[,}\[])/) { "\($0.1)=" }
    return names + String(line[bracket...].dropFirst())
  }
}
