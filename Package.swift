// swift-tools-version: 6.2

import PackageDescription

/// True where the fuzzers are built, and nothing else is: Tests/Fuzz/run. libFuzzer brings a main of its own.
let isFuzzing = Context.environment["STMOUNT_FUZZERS"] != nil

/// Every target of this package is compiled with these; a newcomer's first build says what is not allowed here.
let settings: [SwiftSetting] =
  [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableExperimentalFeature("Lifetimes"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
  ] + (isFuzzing ? [.unsafeFlags(["-sanitize=fuzzer", "-enable-testing"])] : [])

/// libfuse3, linked into the executable, so that commands which mount nothing run where there is no libfuse. With
/// STMOUNT_DYNAMIC_FUSE set, as distributions want it, the shared library.
let linksFUSE: [LinkerSetting] =
  Context.environment["STMOUNT_DYNAMIC_FUSE"] != nil
  ? [.linkedLibrary("fuse3")] : [.unsafeFlags(["-Xlinker", "-l:libfuse3.a"])]

/// A release is linked by LLVM's linker: GNU's keeps unused code of the runtime, which wants glibc 2.36, and warns of it.
///
/// It has the C++ library and GCC's, which Swift's runtime needs, from archives too. .build/static has a link to libstdc++.a and no
/// shared library: see Makefile. A debug build uses the toolchain's shared runtime, and with it the system's libraries.
let linksRuntime: [LinkerSetting] =
  [.unsafeFlags(["-use-ld=lld"], .when(configuration: .release))]
  + (Context.environment["STMOUNT_DYNAMIC_FUSE"] != nil
    ? []
    : [
      .unsafeFlags(
        ["-L", "\(Context.packageDirectory)/.build/static", "-Xclang-linker", "-static-libgcc"],
        .when(configuration: .release))
    ])

/// Every function of a library is found when a command starts, so that what leads to them is read-only from then on (full RELRO).
let bindsNow: [LinkerSetting] = [.unsafeFlags(["-Xlinker", "-z", "-Xlinker", "now"])]

/// What makes the released executable a megabyte smaller: functions whose code is the same are there once, and no name is exported.
///
/// Swift's compiler does not tell the linker whose addresses are compared, so with --icf=safe only C functions would be merged. Nothing
/// here compares addresses of functions, and key paths, which do, are not compared.
let linksSmall: [LinkerSetting] = [
  .unsafeFlags(["-Xlinker", "--icf=all", "-Xlinker", "--no-export-dynamic"], .when(configuration: .release))
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let systemPackage = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

let package = Package(
  name: "stmount",
  products: [.executable(name: "stmount", targets: ["stmount"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", exact: "1.8.1"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", exact: "1.0.2", traits: []),
  ],
  targets: [
    // Linux calls that Glibc's module hides or Swift cannot call.
    .systemLibrary(name: "CLinux"),

    // Threads, signals, processes, page cache residency, least privilege. Knows nothing of tensors or FUSE.
    .target(name: "Linux", dependencies: ["CLinux", systemPackage], swiftSettings: settings),

    // libfuse3 alone. Macros, variadics and version differences end in its shim.h.
    .systemLibrary(name: "CFuse", providers: [.apt(["libfuse3-dev"])]),

    // The format and nothing else: dtypes, headers, indexes.
    .target(name: "Safetensors", swiftSettings: settings),

    // PyTorch's archives and pickles, of which nothing is run.
    .target(name: "PyTorch", dependencies: [systemPackage], swiftSettings: settings),

    // From paths to models, and to where each tensor's bytes are.
    .target(
      name: "Models", dependencies: ["Linux", "PyTorch", "Safetensors", systemPackage],
      swiftSettings: settings),

    // The processor's instructions for SHA-256.
    .systemLibrary(name: "CSHA256"),

    // Its vector instructions for FP8.
    .systemLibrary(name: "CFloat8"),

    // Tensors as files: names and paths, layouts, views, metadata.json.
    .target(
      name: "TensorFiles",
      dependencies: ["CFloat8", "CSHA256", "Linux", "Models", "Safetensors", systemPackage],
      swiftSettings: settings),

    // The kernel's side: session, requests, replies, mounting. Knows nothing of tensors.
    .target(
      name: "FUSE", dependencies: ["CFuse", "CLinux", "Linux", systemPackage], swiftSettings: settings),

    // The file system: TensorFiles on FUSE.
    .target(
      name: "TensorFS",
      dependencies: ["FUSE", "Linux", "Models", "Safetensors", "TensorFiles", logging, systemPackage],
      swiftSettings: settings),

    // The commands, one executable with several names.
    .executableTarget(
      name: "stmount",
      dependencies: [
        "FUSE", "Linux", "Models", "Safetensors", "TensorFS", "TensorFiles", argumentParser, logging,
        systemPackage,
      ],
      path: "Sources/Commands", swiftSettings: settings,
      linkerSettings: linksFUSE + linksRuntime + bindsNow + linksSmall),

    // What all tests share: files made in memory, seeded chance, directories that go away.
    .target(
      name: "Fixtures", dependencies: ["Models", "TensorFiles", systemPackage], path: "Tests/Fixtures",
      swiftSettings: settings),

    // Small files of the format with what the reference makes of each.
    .target(
      name: "Conformance", dependencies: ["Fixtures", "Safetensors"], path: "Tests/Conformance",
      swiftSettings: settings),

    // What this reader makes of files, for the comparison with the reference.
    .executableTarget(
      name: "verdicts", dependencies: ["Models", "PyTorch", "Safetensors", systemPackage],
      path: "Tests/Verdicts",
      swiftSettings: settings),

    // The inner loops of views, as Benchmarks/views measures them.
    .target(
      name: "widening", dependencies: ["Safetensors", "TensorFiles"], path: "Benchmarks/widening",
      swiftSettings: settings),

    .testTarget(
      name: "LinuxTests", dependencies: ["Fixtures", "Linux", systemPackage], swiftSettings: settings),

    .testTarget(
      name: "PyTorchTests", dependencies: ["Fixtures", "PyTorch", systemPackage], swiftSettings: settings),

    .testTarget(
      name: "SafetensorsTests", dependencies: ["Conformance", "Fixtures", "Safetensors", systemPackage],
      swiftSettings: settings),

    .testTarget(
      name: "ModelsTests",
      dependencies: ["Conformance", "Fixtures", "Linux", "Models", "Safetensors", systemPackage],
      swiftSettings: settings),

    .testTarget(
      name: "TensorFilesTests",
      dependencies: ["Fixtures", "Models", "Safetensors", "TensorFiles", systemPackage],
      swiftSettings: settings),

    .testTarget(
      name: "FUSETests", dependencies: ["FUSE", "Fixtures", "Linux", systemPackage], swiftSettings: settings,
      linkerSettings: linksFUSE),

    .testTarget(
      name: "TensorFSTests",
      dependencies: [
        "FUSE", "Fixtures", "Linux", "Models", "Safetensors", "TensorFS", "TensorFiles", logging,
        systemPackage,
      ],
      swiftSettings: settings, linkerSettings: linksFUSE),

    // The built command on a real kernel, as root. Depends on the command so that it is built, not to import it.
    .testTarget(
      name: "MountTests",
      dependencies: [
        "Fixtures", "stmount", .product(name: "Subprocess", package: "swift-subprocess"), systemPackage,
      ],
      swiftSettings: settings),
  ],
  swiftLanguageModes: [.v6]
)

if isFuzzing {
  package.targets.append(
    .executableTarget(
      name: "Fuzzer",
      dependencies: [
        "Conformance", "Fixtures", "Linux", "Models", "PyTorch", "Safetensors", "TensorFiles", systemPackage,
      ],
      path: "Tests/Fuzz", exclude: ["run"],
      swiftSettings: settings,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]))
}

// For a machine without libfuse3-dev: what does not mount.
if Context.environment["STMOUNT_WITHOUT_FUSE"] != nil {
  let mounting: Set = ["CFuse", "FUSE", "TensorFS", "stmount", "FUSETests", "TensorFSTests", "MountTests"]
  package.targets.removeAll { mounting.contains($0.name) }
  package.products = []
}

// Benchmarks/views calls the loops from Python.
if Context.environment["STMOUNT_BENCHMARKS"] != nil {
  package.products.append(.library(name: "widening", type: .dynamic, targets: ["widening"]))
}
