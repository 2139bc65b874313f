import java.lang.invoke.MethodHandles;
import java.lang.reflect.Field;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * Runs a program of RocketMQ that listens on the loopback address alone. Its proxy has no setting for that: it listens
 * for gRPC on Java's "any address", and for its older protocol on the default of NettyServerConfig. So "any address" is
 * made the loopback address, and that default too, before the program begins. Where that fails, nothing is started.
 *
 * Run by `java --add-opens java.base/java.net=ALL-UNNAMED -cp … OnLoopback CLASS ARGUMENT…`.
 */
final class OnLoopback {
    private static final String CONFIG = "org.apache.rocketmq.remoting.netty.NettyServerConfig";
    private static final String NEIGHBOUR = "org.apache.rocketmq.remoting.netty.TlsSystemConfig";
    private static final String ANY = "\1\0" + (char) 7 + "0.0.0.0"; // as a class file has it: kind, length, text
    private static final String LOOPBACK = "\1\0" + (char) 9 + "127.0.0.1";

    private OnLoopback() {}

    public static void main(String[] arguments) throws Exception {
        makeAnyAddressLoopback();
        makeDefaultLoopback();
        String[] its = Arrays.copyOfRange(arguments, 1, arguments.length);
        Class.forName(arguments[0]).getMethod("main", String[].class).invoke(null, (Object) its);
    }

    private static void makeAnyAddressLoopback() throws ReflectiveOperationException {
        Field implementation = InetAddress.class.getDeclaredField("impl");
        implementation.setAccessible(true);
        Object addresses = implementation.get(null);
        Field any = addresses.getClass().getDeclaredField("anyLocalAddress");
        any.setAccessible(true);
        any.set(addresses, InetAddress.getLoopbackAddress());
        if (!new InetSocketAddress(0).getAddress().isLoopbackAddress()) {
            throw new IllegalStateException("this Java can't be kept on the loopback address");
        }
    }

    private static void makeDefaultLoopback() throws Exception {
        ClassLoader loader = OnLoopback.class.getClassLoader();
        String original;
        try (var file = loader.getResourceAsStream(CONFIG.replace('.', '/') + ".class")) {
            original = new String(file.readAllBytes(), StandardCharsets.ISO_8859_1);
        }
        if (!original.contains(ANY)) {
            throw new IllegalStateException("this RocketMQ can't be kept on the loopback address");
        }
        byte[] changed = original.replace(ANY, LOOPBACK).getBytes(StandardCharsets.ISO_8859_1);
        Class<?> neighbour = Class.forName(NEIGHBOUR, false, loader);
        MethodHandles.privateLookupIn(neighbour, MethodHandles.lookup()).defineClass(changed);
    }
}
