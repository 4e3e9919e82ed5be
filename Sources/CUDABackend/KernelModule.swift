import Base
import CCUDA
import Engine

/// A source with what is defined for it: what is compiled and cached as one. Those that the backend may ask
/// for stand in kernels/variants.txt, but for heads of unusual size.
struct KernelModule: Hashable, Sendable {
  /// "product.cu"
  let file: String
  /// "TILE_M=64", in the order of variants.txt.
  let defines: [String]

  init(_ file: String, _ defines: [String] = []) {
    self.file = file
    self.defines = defines
  }

  /// One for the element that it computes with.
  init(_ file: String, _ element: ElementType, _ defines: [String] = []) {
    self.init(file, ["ELEMENT=\(element.name)"] + defines)
  }

  var options: [String] { defines.map { "-D\($0)" } }

  /// For errors and profiles: "product.cu ELEMENT=TC_F16 TILE_M=128".
  var description: String { ([file] + defines).joined(separator: " ") }
}

/// The sources that the program carries.
enum KernelSources {
  static let all: [(name: String, text: String)] = (0..<Int(tc_cuda_source_count)).map { index in
    let source = tc_cuda_sources[index]
    return (String(cString: source.name), read(source))
  }

  private static func read(_ source: tc_cuda_source) -> String {
    String(decoding: UnsafeRawBufferPointer(start: source.text, count: source.size), as: UTF8.self)
  }

  /// What a source may include.
  static let headers = all.filter { !$0.name.hasSuffix(".cu") }

  /// A module that the backend may ask for, and the least architecture that it is for. `isExact`: for that
  /// one alone, with instructions that later ones have not ("90a").
  struct Variant {
    var module: KernelModule
    var least: Int
    var isExact: Bool

    func isFor(_ capability: Int) -> Bool { isExact ? capability == least : capability >= least }
  }

  /// What stands in variants.txt.
  static let variants: [Variant] = read(tc_cuda_variants).split(separator: "\n")
    .filter { !$0.hasPrefix("#") }.map { $0.split(separator: " ").map(String.init) }
    .compactMap { words in
      let isExact = words.count >= 2 && words[1].hasSuffix("a")
      guard words.count >= 2, let least = Int(isExact ? words[1].dropLast() : words[1][...]) else {
        return nil
      }
      return Variant(
        module: KernelModule(words[0], Array(words.dropFirst(2))), least: least, isExact: isExact)
    }

  /// Sources that are compiled for one architecture alone.
  static let exact = Set(variants.filter(\.isExact).map(\.module.file))

  static func text(_ file: String) -> String {
    guard let source = all.first(where: { $0.name == file }) else {
      preconditionFailure("\(file) is not embedded")
    }
    return source.text
  }

  /// Of everything, for the cache's keys: another version of the program compiles anew.
  static let hash: UInt64 = {
    var hash = FNV()
    for source in all {
      hash.add(source.name)
      hash.add(source.text)
    }
    return hash.value
  }()
}

extension ElementType {
  /// As kernels call it.
  var name: String { "TC_\(rawValue.uppercased())" }
  /// TC_F16 and so on.
  var code: Int32 {
    switch self {
    case .f32: return TC_F32
    case .f16: return TC_F16
    case .bf16: return TC_BF16
    case .i32: return TC_I32
    case .u8: return TC_U8
    case .i8: preconditionFailure("no kernel reads or writes i8; graphs with it are refused")
    }
  }
}
