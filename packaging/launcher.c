/* Facet's main program: Python inside the process that LaunchServices started.
 *
 * That process owns the Dock tile, the menu bar, documents dropped on the icon and the camera and
 * microphone permissions, so Python must run in it and not in a child of it. Started with an
 * interpreter option (-c, -m, -I ...), as multiprocessing and subprocess do with sys.executable,
 * it is a plain Python without a window.
 *
 * Nothing of the user's Python set-up is read (isolated configuration) and no byte code is ever
 * written into the bundle. SBK_EMBED is removed because with it Shiboken writes or deletes files
 * beside itself.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#ifdef __APPLE__
#include <mach-o/dyld.h>
#else
#include <unistd.h>
#endif

#define EXIT_SOFTWARE 70

static int own_path(char *out) {
#ifdef __APPLE__
  char raw[PATH_MAX];
  uint32_t size = sizeof raw;
  return _NSGetExecutablePath(raw, &size) == 0 && realpath(raw, out) != NULL;
#else
  return realpath("/proc/self/exe", out) != NULL;
#endif
}

/* out = the folder two levels above the program, then "/Resources". */
static int resources_path(const char *program, char *out, size_t size) {
  char folder[PATH_MAX];
  strcpy(folder, program);
  for (int level = 0; level < 2; level++) {
    char *slash = strrchr(folder, '/');
    if (slash == NULL) return 0;
    *slash = '\0';
  }
  int length = snprintf(out, size, "%s/Resources", folder);
  return length > 0 && (size_t)length < size;
}

/* Interpreter options stand alone (-c, -I) or carry their value (-Wdefault, -Xutf8). */
static int wants_plain_python(int argc, char **argv) {
  if (argc < 2 || argv[1][0] != '-' || argv[1][1] == '\0') return 0;
  if (argv[1][1] == 'W' || argv[1][1] == 'X') return 1;
  return argv[1][2] == '\0' && strchr("bBcdEiImOPqRsSuvx", argv[1][1]) != NULL;
}

static void must(PyStatus status) {
  if (PyStatus_Exception(status)) Py_ExitStatusException(status);
}

int main(int argc, char **argv) {
  char program[PATH_MAX], home[PATH_MAX + 16];
  if (!own_path(program) || !resources_path(program, home, sizeof home)) {
    fputs("Facet cannot find its own folder; move the app to Applications and try again.\n", stderr);
    return EXIT_SOFTWARE;
  }
  unsetenv("SBK_EMBED");
  PyPreConfig before;
  PyPreConfig_InitIsolatedConfig(&before);
  before.utf8_mode = 1;
  must(Py_PreInitialize(&before));

  PyConfig config;
  PyConfig_InitIsolatedConfig(&config);
  config.write_bytecode = 0;
  config.install_signal_handlers = 1;
  config.parse_argv = wants_plain_python(argc, argv);
  must(PyConfig_SetBytesString(&config, &config.home, home));
  must(PyConfig_SetBytesString(&config, &config.executable, program));
  if (!config.parse_argv) must(PyConfig_SetString(&config, &config.run_module, L"app"));
  must(PyConfig_SetBytesArgv(&config, argc, argv));
  must(Py_InitializeFromConfig(&config));
  PyConfig_Clear(&config);
  return Py_RunMain();
}
