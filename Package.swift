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

let package = Package(
  name: "stmount",
  products: [
    .executable(name: "stls", targets: ["stls"]),
    .executable(name: "stmount", targets: ["stmount"]),
    .executable(name: "stpack", targets: ["stpack"]),
    .library(name: "Safetensors", targets: ["Safetensors"]),
    // For Benchmarks/views alone.
    .library(name: "widening", type: .dynamic, targets: ["widening"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2", traits: []),
  ],
  targets: [
    // libfuse3. Macros, variadics and version differences end in its shim.h.
    .systemLibrary(
      name: "CFuse", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),

    // PyTorch's files: archives and pickles, of which nothing is run. Knows nothing of the other format.
    .target(
      name: "PyTorch",
      dependencies: [.product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings),

    // The format: bytes, header, tensors, models. Knows nothing of FUSE.
    .target(
      name: "Safetensors",
      dependencies: ["PyTorch", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings),

    // The kernel's side: session, requests, replies. Knows nothing of tensors.
    .target(
      name: "FUSE",
      dependencies: ["CFuse", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings),

    // The tree of names, and the file system that serves it.
    .target(
      name: "TensorFS",
      dependencies: [
        "FUSE", "Safetensors",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    // What the commands share: exit statuses and how a failure is told.
    .target(
      name: "Command",
      dependencies: [
        "FUSE", "Safetensors", "TensorFS",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    .executableTarget(
      name: "stls",
      dependencies: [
        "Command", "Safetensors", "TensorFS",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    .executableTarget(
      name: "stmount",
      dependencies: [
        "Command", "FUSE", "Safetensors", "TensorFS",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    .executableTarget(
      name: "stpack",
      dependencies: [
        "Command", "FUSE", "Safetensors", "TensorFS",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    // The inner loops of views, measured by Benchmarks/views.
    .target(
      name: "widening",
      dependencies: ["Safetensors", "TensorFS"],
      path: "Benchmarks/widening", swiftSettings: settings),

    // What all tests share: files made in memory, seeded chance, directories that go away.
    .target(
      name: "Fixtures",
      dependencies: [.product(name: "SystemPackage", package: "swift-system")],
      path: "Tests/Fixtures", swiftSettings: settings),

    // Small files of the format with what the reference makes of each.
    .target(
      name: "Conformance",
      dependencies: ["Fixtures", "Safetensors"],
      path: "Tests/Conformance", swiftSettings: settings),

    // What this reader makes of files, for the comparison with the reference.
    .executableTarget(
      name: "verdicts",
      dependencies: ["Safetensors", .product(name: "SystemPackage", package: "swift-system")],
      path: "Tests/Verdicts", swiftSettings: settings),

    .testTarget(
      name: "PyTorchTests",
      dependencies: ["Fixtures", "PyTorch", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings),

    .testTarget(
      name: "SafetensorsTests",
      dependencies: [
        "Conformance", "Fixtures", "Safetensors",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    .testTarget(
      name: "FUSETests",
      dependencies: ["FUSE", "Fixtures", .product(name: "SystemPackage", package: "swift-system")],
      swiftSettings: settings),

    .testTarget(
      name: "TensorFSTests",
      dependencies: [
        "FUSE", "Fixtures", "Safetensors", "TensorFS",
        .product(name: "Logging", package: "swift-log"),
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      swiftSettings: settings),

    // The built command on a real kernel, as root. Depends on the command so that it is built, not to import it.
    .testTarget(
      name: "MountTests",
      dependencies: [
        "Fixtures", "stls", "stmount", "stpack",
        .product(name: "Subprocess", package: "swift-subprocess"),
        .product(name: "SystemPackage", package: "swift-system"),
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
        "Conformance", "Fixtures", "PyTorch", "Safetensors", "TensorFS",
        .product(name: "SystemPackage", package: "swift-system"),
      ],
      path: "Tests/Fuzz", exclude: ["run"],
      swiftSettings: settings,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]))
}
