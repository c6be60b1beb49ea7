/**
 * What differs between the architectures we support, and the refusal of all others.
 *
 * @module
 */

/** Layout facts that are not the same everywhere. */
export interface Arch {
  readonly name: "x86_64" | "aarch64";
  /**
   * `struct epoll_event` in 32-bit words: packed on x86_64 (include/uapi/linux/eventpoll.h, EPOLL_PACKED), so
   * `data` follows `events` at once; elsewhere `data` is aligned to 8 bytes.
   */
  readonly epollEventWords: 3 | 4;
  /** Index of the first word of `data` within the event. */
  readonly epollDataWord: 1 | 2;
}

const ARCHS: Readonly<Record<string, Arch>> = {
  x86_64: { name: "x86_64", epollEventWords: 3, epollDataWord: 1 },
  aarch64: { name: "aarch64", epollEventWords: 4, epollDataWord: 2 },
};

/** This machine is none that the FFI layer knows. */
export class UnsupportedPlatformError extends Error {
  override readonly name = "UnsupportedPlatformError";
}

/**
 * The facts for an architecture.
 *
 * @param build what to judge; by default the running Deno's own build.
 * @throws {UnsupportedPlatformError} when the layouts there are not known.
 */
export function archOf(build: { readonly os: string; readonly arch: string } = Deno.build): Arch {
  const arch = ARCHS[build.arch];
  if (build.os !== "linux" || arch === undefined) {
    throw new UnsupportedPlatformError(
      `platform: ${build.os} on ${build.arch} found, linux on ${Object.keys(ARCHS).join(" or ")} wanted`,
    );
  }
  return arch;
}
