/**
 * The raw tier: system calls that return a value n >= 0 or -errno.
 *
 * No call here throws, awaits or allocates, so all of it may be used on the data path. The interface stands
 * apart from libc so that the state machines above it can be run against a kernel that fails on purpose.
 *
 * @module
 */
import { UnsupportedPlatformError } from "./arch.ts";
import { SYMBOLS } from "./symbols.ts";

type Pointer = Deno.PointerValue;

/** System calls, named and ordered as in section 2 of the manual. Every result is n >= 0 or -errno. */
export interface Syscalls {
  socket(domain: number, type: number, protocol: number): number;
  bind(fd: number, address: Pointer, length: number): number;
  listen(fd: number, backlog: number): number;
  accept4(fd: number, address: Pointer, length: Pointer, flags: number): number;
  connect(fd: number, address: Pointer, length: number): number;
  getsockname(fd: number, address: Pointer, length: Pointer): number;
  getsockopt(fd: number, level: number, name: number, value: Pointer, length: Pointer): number;
  setsockopt(fd: number, level: number, name: number, value: Pointer, length: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  recv(fd: number, buffer: Pointer, length: number, flags: number): number;
  send(fd: number, buffer: Pointer, length: number, flags: number): number;
  recvmsg(fd: number, message: Pointer, flags: number): number;
  sendmsg(fd: number, message: Pointer, flags: number): number;
  /** Without a timeout. */
  recvmmsg(fd: number, messages: Pointer, count: number, flags: number): number;
  sendmmsg(fd: number, messages: Pointer, count: number, flags: number): number;
  read(fd: number, buffer: Pointer, length: number): number;
  write(fd: number, buffer: Pointer, length: number): number;
  /** Without offsets: both ends are a pipe or a socket. */
  splice(from: number, to: number, length: number, flags: number): number;
  pipe2(fds: Pointer, flags: number): number;
  fcntl(fd: number, command: number, argument: number): number;
  ioctl(fd: number, request: number, argument: Pointer): number;
  open(path: Pointer, flags: number, mode: number): number;
  epoll_create1(flags: number): number;
  epoll_ctl(epoll: number, operation: number, fd: number, event: Pointer): number;
  epoll_wait(epoll: number, events: Pointer, maxEvents: number, timeoutMs: number): number;
  clock_gettime(clock: number, time: Pointer): number;
  getrlimit(resource: number, limit: Pointer): number;
  setrlimit(resource: number, limit: Pointer): number;
  /** Of this thread alone; the answer is the id before, as a signed number, also when nothing was changed. */
  setfsuid(uid: number): number;
  setfsgid(gid: number): number;
}

/**
 * Opens libc for the calling thread: errno is thread-local, so each worker opens its own.
 *
 * @throws {UnsupportedPlatformError} where there is no glibc, as on Alpine (musl).
 */
export function openSyscalls(): Syscalls {
  const libc = openLibc();
  const errnoAt = libc.__errno_location();
  if (errnoAt === null) throw new Error("__errno_location: a null pointer found, an address wanted");
  const errno = new Int32Array(Deno.UnsafePointerView.getArrayBuffer(errnoAt, 4));
  // errno must be read in the statement after the call: anything that allocates may call into libc itself.
  return {
    socket(domain, type, protocol) {
      const n = libc.socket(domain, type, protocol);
      return n < 0 ? -errno[0]! : n;
    },
    bind(fd, address, length) {
      const n = libc.bind(fd, address, length);
      return n < 0 ? -errno[0]! : n;
    },
    listen(fd, backlog) {
      const n = libc.listen(fd, backlog);
      return n < 0 ? -errno[0]! : n;
    },
    accept4(fd, address, length, flags) {
      const n = libc.accept4(fd, address, length, flags);
      return n < 0 ? -errno[0]! : n;
    },
    connect(fd, address, length) {
      const n = libc.connect(fd, address, length);
      return n < 0 ? -errno[0]! : n;
    },
    getsockname(fd, address, length) {
      const n = libc.getsockname(fd, address, length);
      return n < 0 ? -errno[0]! : n;
    },
    getsockopt(fd, level, name, value, length) {
      const n = libc.getsockopt(fd, level, name, value, length);
      return n < 0 ? -errno[0]! : n;
    },
    setsockopt(fd, level, name, value, length) {
      const n = libc.setsockopt(fd, level, name, value, length);
      return n < 0 ? -errno[0]! : n;
    },
    shutdown(fd, how) {
      const n = libc.shutdown(fd, how);
      return n < 0 ? -errno[0]! : n;
    },
    close(fd) {
      const n = libc.close(fd);
      return n < 0 ? -errno[0]! : n;
    },
    recv(fd, buffer, length, flags) {
      const n = libc.recv(fd, buffer, length, flags);
      return n < 0 ? -errno[0]! : n;
    },
    send(fd, buffer, length, flags) {
      const n = libc.send(fd, buffer, length, flags);
      return n < 0 ? -errno[0]! : n;
    },
    recvmsg(fd, message, flags) {
      const n = libc.recvmsg(fd, message, flags);
      return n < 0 ? -errno[0]! : n;
    },
    sendmsg(fd, message, flags) {
      const n = libc.sendmsg(fd, message, flags);
      return n < 0 ? -errno[0]! : n;
    },
    recvmmsg(fd, messages, count, flags) {
      const n = libc.recvmmsg(fd, messages, count, flags, null);
      return n < 0 ? -errno[0]! : n;
    },
    sendmmsg(fd, messages, count, flags) {
      const n = libc.sendmmsg(fd, messages, count, flags);
      return n < 0 ? -errno[0]! : n;
    },
    read(fd, buffer, length) {
      const n = libc.read(fd, buffer, length);
      return n < 0 ? -errno[0]! : n;
    },
    write(fd, buffer, length) {
      const n = libc.write(fd, buffer, length);
      return n < 0 ? -errno[0]! : n;
    },
    splice(from, to, length, flags) {
      const n = libc.splice(from, null, to, null, length, flags);
      return n < 0 ? -errno[0]! : n;
    },
    pipe2(fds, flags) {
      const n = libc.pipe2(fds, flags);
      return n < 0 ? -errno[0]! : n;
    },
    fcntl(fd, command, argument) {
      const n = libc.fcntl(fd, command, argument);
      return n < 0 ? -errno[0]! : n;
    },
    ioctl(fd, request, argument) {
      const n = libc.ioctl(fd, request, argument);
      return n < 0 ? -errno[0]! : n;
    },
    open(path, flags, mode) {
      const n = libc.open(path, flags, mode);
      return n < 0 ? -errno[0]! : n;
    },
    epoll_create1(flags) {
      const n = libc.epoll_create1(flags);
      return n < 0 ? -errno[0]! : n;
    },
    epoll_ctl(epoll, operation, fd, event) {
      const n = libc.epoll_ctl(epoll, operation, fd, event);
      return n < 0 ? -errno[0]! : n;
    },
    epoll_wait(epoll, events, maxEvents, timeoutMs) {
      const n = libc.epoll_wait(epoll, events, maxEvents, timeoutMs);
      return n < 0 ? -errno[0]! : n;
    },
    clock_gettime(clock, time) {
      const n = libc.clock_gettime(clock, time);
      return n < 0 ? -errno[0]! : n;
    },
    getrlimit(resource, limit) {
      const n = libc.getrlimit(resource, limit);
      return n < 0 ? -errno[0]! : n;
    },
    setrlimit(resource, limit) {
      const n = libc.setrlimit(resource, limit);
      return n < 0 ? -errno[0]! : n;
    },
    setfsuid: (uid) => libc.setfsuid(uid),
    setfsgid: (gid) => libc.setfsgid(gid),
  };
}

function openLibc(): Deno.DynamicLibrary<typeof SYMBOLS>["symbols"] {
  try {
    return Deno.dlopen("libc.so.6", SYMBOLS).symbols;
  } catch (error) {
    throw new UnsupportedPlatformError(
      `libc.so.6: glibc wanted, not found (${error instanceof Error ? error.message : error}). ` +
        "Systems built on musl, such as Alpine, are not supported: use a glibc image.",
    );
  }
}
