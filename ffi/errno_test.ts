import { assert, assertEquals, assertThrows } from "../tests/assert.ts";
import * as errnos from "./errno.ts";
import { checked, errnoName, isSyscallError, SyscallError } from "./errno.ts";

Deno.test("errnoName: every number with a constant here has its name", () => {
  const constants = Object.entries(errnos).filter(([, value]) => typeof value === "number");
  assert(constants.length > 10);
  for (const [name, value] of constants) assertEquals(errnoName(value as number), name);
  assertEquals(errnoName(9999), "errno 9999");
});

Deno.test("checked: a value passes, an error is thrown with call, name and detail", () => {
  assertEquals(checked("listen", 0), 0);
  assertEquals(checked("accept4", 17), 17);
  const error = assertThrows(() => checked("setsockopt", -1, "SO_MARK"), SyscallError);
  assertEquals(
    [error.message, error.syscall, error.errno, error.code],
    ["setsockopt: EPERM (SO_MARK)", "setsockopt", 1, "EPERM"],
  );
});

Deno.test("isSyscallError: of any number, or of one", () => {
  const error = new SyscallError("bind", errnos.EADDRINUSE);
  assertEquals(
    [isSyscallError(error), isSyscallError(error, errnos.EADDRINUSE), isSyscallError(error, errnos.EACCES)],
    [true, true, false],
  );
  assertEquals(isSyscallError(new Error("bind: EADDRINUSE")), false);
});
