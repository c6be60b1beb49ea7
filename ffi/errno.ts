/**
 * Error numbers: their names, and the two errors the checked tier throws.
 *
 * The raw tier returns `-errno`; nothing on the data path throws.
 *
 * @module
 */

export const EPERM = 1;
export const EINTR = 4;
export const EIO = 5;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const EPIPE = 32;
export const EMSGSIZE = 90;
export const ENOPROTOOPT = 92;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ECONNABORTED = 103;
export const ECONNRESET = 104;
export const ENOBUFS = 105;
export const ETIMEDOUT = 110;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;
export const EINPROGRESS = 115;

/** asm-generic/errno-base.h and errno.h, which x86_64 and aarch64 share: the ones a socket program can meet. */
const NAMES: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  6: "ENXIO",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  14: "EFAULT",
  16: "EBUSY",
  17: "EEXIST",
  19: "ENODEV",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  32: "EPIPE",
  38: "ENOSYS",
  71: "EPROTO",
  88: "ENOTSOCK",
  90: "EMSGSIZE",
  92: "ENOPROTOOPT",
  93: "EPROTONOSUPPORT",
  94: "ESOCKTNOSUPPORT",
  95: "EOPNOTSUPP",
  97: "EAFNOSUPPORT",
  98: "EADDRINUSE",
  99: "EADDRNOTAVAIL",
  100: "ENETDOWN",
  101: "ENETUNREACH",
  102: "ENETRESET",
  103: "ECONNABORTED",
  104: "ECONNRESET",
  105: "ENOBUFS",
  106: "EISCONN",
  107: "ENOTCONN",
  110: "ETIMEDOUT",
  111: "ECONNREFUSED",
  112: "EHOSTDOWN",
  113: "EHOSTUNREACH",
  114: "EALREADY",
  115: "EINPROGRESS",
};

/** `EADDRINUSE` for 98; `errno 123` for a number without a name here. */
export function errnoName(errno: number): string {
  return NAMES[errno] ?? `errno ${errno}`;
}

/** A system call failed where that was not expected. */
export class SyscallError extends Error {
  override readonly name = "SyscallError";
  /** Error name, such as `EADDRINUSE`. */
  readonly code: string;
  constructor(readonly syscall: string, readonly errno: number, detail = "") {
    const code = errnoName(errno);
    super(`${syscall}: ${code}${detail === "" ? "" : ` (${detail})`}`);
    this.code = code;
  }
}

/** Whether `error` is a failed system call, with that error number if one is given. */
export function isSyscallError(error: unknown, errno?: number): error is SyscallError {
  return error instanceof SyscallError && (errno === undefined || error.errno === errno);
}

/** Whether an IPv6 socket could not be had because there is no IPv6: in the kernel (ipv6.disable=1) or in this network
 * namespace (disable_ipv6=1). */
export function meansNoIpv6(error: unknown): boolean {
  return isSyscallError(error, EAFNOSUPPORT) || isSyscallError(error, EADDRNOTAVAIL);
}

/** Turns the raw tier's result into the checked tier's: the value, or an exception. */
export function checked(syscall: string, result: number, detail = ""): number {
  if (result < 0) throw new SyscallError(syscall, -result, detail);
  return result;
}
