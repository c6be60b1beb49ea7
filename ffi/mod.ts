/**
 * The only folder that talks to libc: raw and checked system calls, memory that C may point into, the reactor.
 *
 * @module
 */
export * from "./arch.ts";
export * from "./arena.ts";
export * from "./cmsg.ts";
export * from "./constants.ts";
export * from "./descriptor_book.ts";
export * from "./errno.ts";
export * from "./interface_names.ts";
export * from "./mmsg.ts";
export * from "./reactor.ts";
export * from "./sock_diag.ts";
export * from "./sockaddr.ts";
export * from "./socket.ts";
export * from "./socket_filter.ts";
export * from "./syscalls.ts";
export * from "./task.ts";
export * from "./timer_wheel.ts";
