import Fixtures
import SystemPackage
import Testing

extension CommandTests {
  /// The scripts that `--generate-completion-script` prints, in their shells.
  @Suite struct CompletionTests {
    private let files: TemporaryDirectory

    init() throws { files = try TemporaryDirectory() }

    /// Lines before and after completion. The directory has two files and a directory.
    private static let lines = [
      ("stls mod", "stls model.safetensors"), ("stls --so", "stls --sort"),
      ("stls --sort of", "stls --sort offset"),
      ("stls --check mod", "stls --check model.safetensors"), ("stls a b mod", "stls a b model.safetensors"),
      ("stcat mod", "stcat model.safetensors"), ("stcat --as np", "stcat --as npy"),
      ("stdiff x mod", "stdiff x model.safetensors"), ("stdiff --ren", "stdiff --rename"),
      ("stpack mod", "stpack model.safetensors"), ("stpack --ou", "stpack --output"),
      ("stunpack mod", "stunpack model.safetensors"), ("stunpack x di", "stunpack x dir/"),
      ("stmount mod", "stmount model.safetensors"), ("stmount --log-level de", "stmount --log-level debug"),
      ("stmount --unm", "stmount --unmount"), ("stmount -u di", "stmount -u dir/"),
      ("stls --sort=of", "stls --sort=offset"), ("stls --check=mod", "stls --check=model.safetensors"),
      ("stpack --output=mod", "stpack --output=model.safetensors"),
    ]

    /// More lines, for shells that complete values of `-o` outside of a prompt too, by asking the command.
    private static let mountOptions = [
      ("stmount -o um", "stmount -o umask="), ("stmount -o direct_io,um", "stmount -o direct_io,umask="),
    ]

    private func prepare(_ shell: String) async throws {
      try files.makeDirectory("work/dir")
      try files.write("work/model.safetensors", text: "")
      try files.write("work/other.bin", text: "")
      for command in ["stmount", "stls", "stcat", "stdiff", "stpack", "stunpack"] {
        let outcome = try await Command.run(
          "\(Machine.link(command))", ["--generate-completion-script", shell])
        #expect(outcome.status == 0 && outcome.error.isEmpty, "\(outcome.error)")
        try files.write("\(shell)/_\(command)", outcome.output)
      }
    }

    /// Runs a script of the shell, whose arguments are the directory of the completion scripts and the lines. It prints the completed
    /// lines.
    private func complete(
      _ shell: String, lines: [(String, String)] = Self.lines + Self.mountOptions, _ script: String
    ) async throws {
      try await prepare(shell)
      let commands = try Machine.stmount.removingLastComponent()
      let file = try files.write("complete", text: script)
      let outcome = try await Command.run(
        "env",
        ["PATH=\(commands):/usr/bin:/bin", shell, "\(file)", "\(files.path)/\(shell)"] + lines.map(\.0),
        directory: files.path.appending("work"))
      #expect(outcome.status == 0, "\(outcome.error)")
      let completed = outcome.text.split(separator: "\n", omittingEmptySubsequences: false)
      try #require(completed.count == lines.count, "\(outcome)")
      for (line, expected) in zip(completed, lines) {
        // Some shells add a space after a complete word, and zsh adds `=` if a value can follow.
        #expect(["", " ", "="].contains { line == expected.1 + $0 }, "\(shell): \(expected.0)")
      }
    }

    @Test("bash completes options, their values and files")
    func bash() async throws {
      try await complete(
        "bash",
        """
        for script in "$1"/*; do source "$script"; done
        shift
        for line; do
          # bash also ends words at an equals sign.
          read -ra COMP_WORDS <<<"${line//=/ = }"
          COMP_LINE=$line COMP_POINT=${#line} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
          "_${COMP_WORDS[0]}" "${COMP_WORDS[0]}" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
          word=${COMPREPLY[*]}
          # complete -o filenames adds this slash.
          [ -d "$word" ] && word+=/
          echo "${line%"${COMP_WORDS[-1]}"}$word"
        done
        """)
    }

    @Test("fish completes options, their values and files")
    func fish() async throws {
      try await complete(
        "fish", lines: Self.lines,
        """
        for script in $argv[1]/*; source $script; end
        for line in $argv[2..]
          set found (complete -C $line | string replace -r '\\t.*' '')
          # For --option=value, fish offers the whole word.
          echo (string replace -r '[^ ]*$' '' -- $line)(string join ' ' -- $found)
        end
        """)
    }

    @Test("zsh completes options, their values and files")
    func zsh() async throws {
      // This shell runs on its own terminal, where a key makes it print the line.
      try await complete(
        "zsh",
        #"""
        zmodload zsh/zpty
        lines=$1/../lines
        zpty shell env HOME=$1 TERM=dumb zsh -f -i
        zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; unsetopt beep; \
          line() { print -r -- \"\$BUFFER\" >>$lines; BUFFER= }; zle -N line; bindkey '^T' line; PS1=REA''DY; print"
        zpty -r shell output '*READY*'
        shift
        for line; do zpty -w -n shell "$line"$'\t\C-t'; done
        zpty -w shell exit
        while zpty -r shell output; do :; done
        cat $lines
        """#)
    }

    @Test("No shell offers a subcommand, since there is none")
    func noSubcommand() async throws {
      for shell in ["bash", "fish", "zsh"] {
        try await prepare(shell)
        for command in ["stls", "stunpack"] {
          let script = String(
            decoding: try OpenFile(files.path.appending("\(shell)/_\(command)")).bytes(), as: UTF8.self)
          #expect(!script.contains("subcommand help"), "\(shell)")
        }
      }
      let offered = try await Command.output(
        of: "fish", "-N", "-c",
        "source \(files.path)/fish/_stls; cd \(files.path)/work; complete -C 'stls x '")
      #expect(offered.split(separator: "\n") == ["dir/", "model.safetensors", "other.bin"], "\(offered)")
    }
  }
}
