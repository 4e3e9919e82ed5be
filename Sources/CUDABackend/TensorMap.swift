import CCUDA

/// A tensor of 16-bit elements in three dimensions, as the tensor memory accelerator brings boxes of it to
/// shared memory in rows of 128 bytes, swizzled over them (Hopper; CUDA driver API, "Tensor Map Object
/// Management").
struct TensorMap {
  var address: tc_CUdeviceptr
  /// Elements, innermost first.
  var sizes: (UInt64, UInt64, UInt64)
  /// Elements from a row to the next, and from a plane to the next.
  var strides: (UInt64, UInt64)
  /// Elements; the innermost are 128 bytes.
  var box: (UInt32, UInt32, UInt32)

  /// Errors: `CUDAError`.
  func encoded(_ driver: Driver) throws -> tc_cuda_tensor_map {
    let encode = try driver.get("cuTensorMapEncodeTiled", tc_cuTensorMapEncodeTiled.self)
    // The driver wants it at a multiple of 64, which Swift does not promise for a variable.
    let size = MemoryLayout<tc_cuda_tensor_map>.size
    let map = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 64)
    defer { map.deallocate() }
    let (sizes, box) = ([sizes.0, sizes.1, sizes.2], [box.0, box.1, box.2])
    let strides = [strides.0, strides.1].map { $0 * 2 }
    let code = encode(
      map, TC_CUDA_MAP_UINT16, 3, UnsafeMutableRawPointer(bitPattern: UInt(address)), sizes, strides, box,
      [1, 1, 1], 0, TC_CUDA_MAP_SWIZZLE_128, TC_CUDA_MAP_PROMOTE_256, 0)
    try driver.check(
      code, "cuTensorMapEncodeTiled", "boxes of \(box) in \(sizes) elements, \(strides) bytes apart")
    return map.load(as: tc_cuda_tensor_map.self)
  }
}
