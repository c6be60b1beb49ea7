/**
 * The C library's prototypes as data, the C prototype beside each.
 *
 * Calls with i32, u32 and pointer arguments are compiled into the caller and cost 4 to 7 ns; a `usize` given a
 * JavaScript number costs 80 to 170 ns. So a `size_t` is declared u32 (no length of ours reaches 4 GiB, and
 * both supported ABIs pass it zero-extended in a register) and a `ssize_t` i32 (no call moves 2 GiB).
 *
 * @module
 */

/** Every function of libc that is called, for `Deno.dlopen`. */
export const SYMBOLS = {
  // int *__errno_location(void);
  __errno_location: { parameters: [], result: "pointer" },
  // int socket(int domain, int type, int protocol);
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int bind(int fd, const struct sockaddr *addr, socklen_t len);
  bind: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  // int listen(int fd, int backlog);
  listen: { parameters: ["i32", "i32"], result: "i32" },
  // int accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
  accept4: { parameters: ["i32", "pointer", "pointer", "i32"], result: "i32" },
  // int connect(int fd, const struct sockaddr *addr, socklen_t len);
  connect: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  // int getsockname(int fd, struct sockaddr *addr, socklen_t *len);
  getsockname: { parameters: ["i32", "pointer", "pointer"], result: "i32" },
  // int getsockopt(int fd, int level, int name, void *value, socklen_t *len);
  getsockopt: { parameters: ["i32", "i32", "i32", "pointer", "pointer"], result: "i32" },
  // int setsockopt(int fd, int level, int name, const void *value, socklen_t len);
  setsockopt: { parameters: ["i32", "i32", "i32", "pointer", "u32"], result: "i32" },
  // int shutdown(int fd, int how);
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  // int close(int fd);
  close: { parameters: ["i32"], result: "i32" },
  // ssize_t recv(int fd, void *buf, size_t len, int flags);
  recv: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  // ssize_t send(int fd, const void *buf, size_t len, int flags);
  send: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  // ssize_t recvmsg(int fd, struct msghdr *message, int flags);
  recvmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  // ssize_t sendmsg(int fd, const struct msghdr *message, int flags);
  sendmsg: { parameters: ["i32", "pointer", "i32"], result: "i32" },
  // int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout);
  recvmmsg: { parameters: ["i32", "pointer", "u32", "i32", "pointer"], result: "i32" },
  // int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags);
  sendmmsg: { parameters: ["i32", "pointer", "u32", "i32"], result: "i32" },
  // ssize_t read(int fd, void *buf, size_t len);
  read: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  // ssize_t write(int fd, const void *buf, size_t len);
  write: { parameters: ["i32", "pointer", "u32"], result: "i32" },
  // ssize_t splice(int fd_in, off_t *off_in, int fd_out, off_t *off_out, size_t len, unsigned flags);
  splice: { parameters: ["i32", "pointer", "i32", "pointer", "u32", "u32"], result: "i32" },
  // int pipe2(int fds[2], int flags);
  pipe2: { parameters: ["pointer", "i32"], result: "i32" },
  // int fcntl(int fd, int cmd, int arg); variadic, which the two supported ABIs pass like a fixed argument.
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  // int ioctl(int fd, unsigned long request, void *argument); variadic, as above.
  ioctl: { parameters: ["i32", "u32", "pointer"], result: "i32" },
  // int open(const char *path, int flags, mode_t mode); variadic, as above.
  open: { parameters: ["pointer", "i32", "u32"], result: "i32" },
  // int epoll_create1(int flags);
  epoll_create1: { parameters: ["i32"], result: "i32" },
  // int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event);
  epoll_ctl: { parameters: ["i32", "i32", "i32", "pointer"], result: "i32" },
  // int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);
  epoll_wait: { parameters: ["i32", "pointer", "i32", "i32"], result: "i32" },
  // int clock_gettime(clockid_t clock, struct timespec *ts);
  clock_gettime: { parameters: ["i32", "pointer"], result: "i32" },
  // int getrlimit(int resource, struct rlimit *limit);
  getrlimit: { parameters: ["i32", "pointer"], result: "i32" },
  // int setfsuid(uid_t fsuid); of the calling thread alone.
  setfsuid: { parameters: ["u32"], result: "i32" },
  // int setfsgid(gid_t fsgid); likewise.
  setfsgid: { parameters: ["u32"], result: "i32" },
  // int setrlimit(int resource, const struct rlimit *limit);
  setrlimit: { parameters: ["i32", "pointer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;
