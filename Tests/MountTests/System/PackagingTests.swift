import Fixtures
import Glibc
import SystemPackage
import Testing

extension MountTests {
  /// The inputs of packages. packaging/check tests whether packages work.
  @Suite struct PackagingTests {
    private func python(_ program: String, _ arguments: String...) async throws -> Outcome {
      let interpreter = Machine.repository.appending(".build/python/bin/python3")
      return try await Command.run(
        "\(interpreter)", ["-c", program] + arguments, directory: Machine.repository)
    }

    @Test("--command=NAME runs the command of that name, and another name is refused")
    func calledCommand() async throws {
      let files = try TemporaryDirectory()
      let model = "\(try files.write("m.safetensors", SafetensorsFile(.init("w", "U8", [3]))))"
      for command in ["stls", "stcat", "stdiff", "stpack", "stunpack"] {
        let help = try await Command.stmount(["--command=\(command)", "--help"])
        #expect(help.status == 0 && help.text.contains("USAGE: \(command) "), "\(help)")
      }
      let list = try await Command.stmount(["--command=stls", model])
      let same = try await Command.run("\(Machine.stls)", [model])
      #expect(list.status == 0 && list.output == same.output)
      // Only the first argument counts, so that a file can have such a name.
      let missing = try await Command.stmount(["--command=stls", "--", "--command=stls"])
      #expect(missing.status == 66 && missing.error.contains("--command=stls"), "\(missing)")
      let unknown = try await Command.stmount(["--command=ls", model])
      #expect(unknown.status == 64 && unknown.error.contains("--command"), "\(unknown)")
    }

    @Test("The workflows have the form that GitHub asks for, and run scripts that exist")
    func workflows() async throws {
      let checker = Machine.repository.appending(".build/python/bin/check-jsonschema")
      let form = try await Command.run(
        "\(checker)",
        ["--builtin-schema", "vendor.github-workflows"]
          + ["ci", "release"].map { "\(Machine.repository)/.github/workflows/\($0).yml" })
      #expect(form.status == 0, "\(form.text)")
      let outcome = try await python(
        """
        import os, re, yaml
        for name in "ci", "release":
            workflow = yaml.safe_load(open(f".github/workflows/{name}.yml"))
            for job in workflow["jobs"].values():
                for step in job["steps"]:
                    for script in re.findall(r"(?:packaging|[.]ci)/[a-z-]+", step.get("run", "")):
                        assert os.access(script, os.X_OK), script
        jobs = yaml.safe_load(open(".github/workflows/release.yml"))["jobs"]
        machines = {row["architecture"] for row in jobs["packages"]["strategy"]["matrix"]["include"]}
        assert machines == {"x86_64", "aarch64"}, machines
        """)
      #expect(outcome.status == 0, "\(outcome.error)")
    }

    @Test("The pod of Kubernetes is the one of RECIPES.md, and mounts in a privileged sidecar")
    func kubernetes() async throws {
      let outcome = try await python(
        """
        import re, yaml
        pod = yaml.safe_load(open("packaging/kubernetes.yaml"))
        assert pod["apiVersion"] == "v1" and pod["kind"] == "Pod", pod
        recipe = re.search(r"```yaml\\n(.*?)```", open("docs/RECIPES.md").read(), re.S)[1]
        assert yaml.safe_load(recipe)["spec"] == pod["spec"]
        [sidecar] = pod["spec"]["initContainers"]
        [worker] = pod["spec"]["containers"]
        assert sidecar["restartPolicy"] == "Always" and sidecar["securityContext"] == {"privileged": True}
        assert "securityContext" not in worker
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        mounted = {(use["name"], use.get("mountPropagation")) for c in (sidecar, worker) for use in c["volumeMounts"]}
        assert mounted == {("models", None), ("tensors", "Bidirectional"), ("tensors", "HostToContainer")}, mounted
        assert {name for name, _ in mounted} == volumes
        """)
      #expect(outcome.status == 0, "\(outcome.error)")
    }

    @Test("The Containerfile copies the package that 'make packages' writes")
    func containerfile() throws {
      let lines = try Documentation.text("packaging/Containerfile").split(separator: "\n").filter {
        !$0.hasPrefix("#")
      }
      let instructions = lines.filter { !$0.hasPrefix(" ") }.compactMap { $0.split(separator: " ").first }
      #expect(instructions == ["FROM", "COPY", "RUN", "ENTRYPOINT", "CMD"])
      #expect(lines.contains("COPY dist/stmount_*.deb /tmp/"))
      #expect(try Documentation.text("Makefile").contains("\nDIST = dist\n"))
    }

    @Test("'make' alone explains the targets, and every target that the documents name is one")
    func help() async throws {
      let help = try await Command.output(of: "make", "-s", "-C", "\(Machine.repository)")
      #expect(help.hasPrefix("usage: make TARGET"))
      let makefile = try Documentation.text("Makefile")
      for document in ["README.md", "CONTRIBUTING.md", "docs/INSTALL.md", "docs/internals/RELEASING.md"] {
        for match in try Documentation.text(document).matches(of: /(?:`|    )make ([a-z-]+)/) {
          let target = match.output.1
          #expect(
            makefile.contains(try Regex("(?m)^([a-z -]+ )?\(target)( [a-z -]+)?:")),
            "\(document): make \(target)")
          #expect(
            help.contains(target) || target == "deps" || target == "test-deps", "\(target) is not explained")
        }
      }
    }

    @Test("The version is in one file, and the Makefile and the commands take it from there")
    func version() async throws {
      let stated = try await Command.output(
        of: "make", "-s", "-C", "\(Machine.repository)", "--eval=print: ; @echo $(VERSION)", "print")
      #expect(try stated.wholeMatch(of: Regex("[0-9]+[.][0-9]+[.][0-9]+")) != nil, "\(stated)")
      for command in ["stmount", "stls", "stcat", "stdiff", "stpack", "stunpack"] {
        let outcome = try await Command.stmount(["--command=\(command)", "--version"])
        #expect("\(outcome.text) ".hasPrefix("\(command) \(stated) "), "\(outcome)")
      }
      let elsewhere = try await Command.run(
        "grep",
        ["-rlF", stated] + ["Makefile", "Package.swift", "README.md", "docs/INSTALL.md", "docs/man"]
          + ["packaging", "systemd", ".github", ".ci"],
        directory: Machine.repository)
      #expect(elsewhere.status == 1, "\(elsewhere.text) has the version too")
    }

    @Test("STATIC_FUSE=no links the shared libfuse, and no archive of it")
    func dynamicFUSE() async throws {
      let scratch = try TemporaryDirectory()
      for (environment, isShared) in [("A=b", false), ("STMOUNT_DYNAMIC_FUSE=1", true)] {
        let manifest = try await Command.output(
          of: "env", environment, "swift", "package", "--package-path", "\(Machine.repository)",
          "--scratch-path", "\(scratch.path)", "dump-package")
        #expect(manifest.contains("-l:libfuse3.a") != isShared && manifest.contains("fuse3\"") == isShared)
        #expect(manifest.contains("-static-libgcc") != isShared)
      }
      let makefile = try await Command.output(
        of: "make", "-s", "-C", "\(Machine.repository)", "STATIC_FUSE=no",
        "--eval=print: ; @echo $$STMOUNT_DYNAMIC_FUSE", "print")
      #expect(makefile == "1")
      let packages = try await Command.run(
        "env",
        ["STMOUNT_DYNAMIC_FUSE=1", "SOURCE_DATE_EPOCH=0"]
          + ["packaging/build", ".", "\(scratch.path)", "0", "deb"],
        directory: Machine.repository)
      #expect(packages.status == 64 && packages.error.contains("STATIC_FUSE=no is for"), "\(packages)")
    }

    @Test("Python that make starts as root leaves nothing in a user's clone", arguments: ["SUDO", "AS_ROOT"])
    func compiledPython(variable: String) async throws {
      let prefix = try await Command.output(
        of: "make", "-s", "-C", "\(Machine.repository)", "IS_ROOT=",
        "--eval=print: ; @echo '$(\(variable))'", "print")
      let clone = try TemporaryDirectory()
      _ = try clone.write("module.py", text: "")
      let outcome = try await Command.run(
        "env",
        ["-u", "PYTHONDONTWRITEBYTECODE", "sh", "-c"]
          + ["\(prefix.dropFirst("sudo ".count)) python3 -c 'import module' && ls"],
        directory: clone.path)
      #expect(prefix.hasPrefix("sudo env ") && outcome.text == "module.py", "\(prefix): \(outcome)")
    }

    @Test("A user who may not install packages is told which ones to ask for")
    func packagesToAskFor() async throws {
      let copy = try TemporaryDirectory()
      _ = unsafe chmod("\(copy.path)", 0o755)
      let script = try copy.write("need", text: Documentation.text("packaging/need"))
      let outcome = try await Command.run(
        "env", ["PATH=/bin:/usr/bin", "sh", "\(script)", "sh no-such-program", "coreutils no-such-package"],
        directory: copy.path, user: PrivateNamespace.nobody)
      #expect(outcome.status == 1)
      #expect(outcome.text.hasPrefix("There is no no-such-program."), "\(outcome)")
      #expect(outcome.error.hasSuffix("They type: apt-get install no-such-package\n"), "\(outcome)")
      let present = try await Command.run("sh", ["\(script)", "sh cat", "no-such-package"])
      #expect(present.status == 0 && present.text.isEmpty && present.error.isEmpty, "\(present)")
    }

    @Test("A release needs its version in the source and its section in CHANGELOG.md")
    func release() async throws {
      let copy = try TemporaryDirectory()
      let script = try copy.write(
        "packaging/check-release", text: Documentation.text("packaging/check-release"))
      try copy.write("Sources/Commands/Shared/Version.swift", text: "let stmountVersion = \"1.2.3\"\n")
      try copy.write(
        "CHANGELOG.md",
        text: "# Changelog\n\n## Unreleased\n\n- c\n\n## 1.2.3 - today\n\n- b\n\n## 1.2.2 - then\n\n- a\n")
      let ready = try await Command.run("sh", ["\(script)", "1.2.3"])
      #expect(ready.status == 0 && ready.text.contains("- b") && !ready.text.contains("- a"), "\(ready)")
      let wrong = try await Command.run("sh", ["\(script)", "1.2.4"])
      #expect(wrong.status == 1 && wrong.error.contains("Version.swift says 1.2.3"), "\(wrong)")
      try copy.write("CHANGELOG.md", text: "# Changelog\n\n## Unreleased\n\n- b\n")
      let silent = try await Command.run("sh", ["\(script)", "1.2.3"])
      #expect(silent.status == 1 && silent.error.contains("CHANGELOG.md has no section"), "\(silent)")
    }
  }
}
