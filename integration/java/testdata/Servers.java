import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.servlet.DispatcherType;
import javax.servlet.Servlet;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;
import org.eclipse.jetty.http.HttpCompliance;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.servlet.FilterHolder;
import org.eclipse.jetty.servlet.ServletContextHandler;
import org.eclipse.jetty.servlet.ServletHolder;
import org.springframework.http.HttpHeaders;
import org.springframework.http.HttpInputMessage;
import org.springframework.http.MediaType;
import org.springframework.http.converter.json.MappingJackson2HttpMessageConverter;
import org.springframework.util.AntPathMatcher;
import org.springframework.web.bind.annotation.RequestMethod;
import org.springframework.web.context.support.StaticWebApplicationContext;
import org.springframework.web.filter.HiddenHttpMethodFilter;
import org.springframework.web.method.HandlerMethod;
import org.springframework.web.servlet.HandlerExecutionChain;
import org.springframework.web.servlet.HandlerMapping;
import org.springframework.web.servlet.mvc.method.RequestMappingInfo;
import org.springframework.web.servlet.mvc.method.annotation.RequestMappingHandlerMapping;
import org.springframework.web.util.UrlPathHelper;

/**
 * Starts Jetty, Tomcat and Spring on Jetty, each also as lenient as it can be configured. Each answers which of
 * nevisFIDO's calls it takes a request for and, where the request has a header "Read", what Jackson reads in its body.
 * The process ends with its standard input.
 */
public class Servers {
  /** A call of nevisFIDO: the path below the base path, which may end with an id. */
  record Call(String name, String method, String path) {}

  static final List<Call> CALLS = List.of(
      new Call("registration", "POST", "/token/dispatch/registration"),
      new Call("authentication", "POST", "/token/dispatch/authentication"),
      new Call("deregistration", "POST", "/token/dispatch/deregistration"),
      new Call("create", "POST", "/token/dispatch/targets"),
      new Call("query", "GET", "/token/dispatch/targets"),
      new Call("modify", "PATCH", "/token/dispatch/targets/{id}"),
      new Call("delete", "DELETE", "/token/dispatch/targets/{id}"),
      new Call("register", "POST", "/uaf/1.1/registration"),
      new Call("modify device", "PATCH", "/devices/credentials/{id}"),
      new Call("delete device", "DELETE", "/devices/credentials/{id}"));

  static final String[] MAPPINGS =
      CALLS.stream().map(c -> c.path().replace("{id}", "*")).distinct().toArray(String[]::new);

  public static void main(String[] args) throws Exception {
    java.util.logging.LogManager.getLogManager().reset();
    System.setProperty("org.eclipse.jetty.util.log.class", "org.eclipse.jetty.util.log.StdErrLog");
    System.setProperty("org.eclipse.jetty.LEVEL", "OFF");
    Map<String, Integer> ports = new LinkedHashMap<>();
    ports.put("jetty", jetty(HttpCompliance.RFC7230, new JettyServlet(), null, MAPPINGS));
    ports.put("jetty, legacy", jetty(HttpCompliance.LEGACY, new JettyServlet(), null, MAPPINGS));
    tomcat(ports);
    ports.put("spring", jetty(HttpCompliance.RFC7230, new SpringServlet(false), null, "/"));
    ports.put("spring, lenient", jetty(HttpCompliance.LEGACY, new SpringServlet(true), new HiddenHttpMethodFilter(), "/"));
    System.out.println(new ObjectMapper().writeValueAsString(ports));
    while (System.in.read() >= 0) {}
    System.exit(0);
  }

  static int jetty(HttpCompliance how, Servlet servlet, javax.servlet.Filter filter, String... mappings) throws Exception {
    Server server = new Server();
    ServerConnector connector = new ServerConnector(server, 1, 1, new HttpConnectionFactory(new HttpConfiguration(), how));
    connector.setHost("127.0.0.1");
    server.addConnector(connector);
    ServletContextHandler context = new ServletContextHandler();
    context.setContextPath("/nevisfido");
    ServletHolder holder = new ServletHolder(servlet);
    for (String mapping : mappings) {
      context.addServlet(holder, mapping);
    }
    if (filter != null) {
      context.addFilter(new FilterHolder(filter), "/*", EnumSet.of(DispatcherType.REQUEST));
    }
    server.setHandler(context);
    server.start();
    return connector.getLocalPort();
  }

  static void tomcat(Map<String, Integer> ports) throws Exception {
    String folder = System.getProperty("java.io.tmpdir");
    Tomcat tomcat = new Tomcat();
    tomcat.setBaseDir(folder);
    Connector regular = new Connector();
    Connector lenient = new Connector();
    lenient.setAllowBackslash(true);
    lenient.setEncodedSolidusHandling("decode");
    lenient.setProperty("relaxedPathChars", "<>[\\]^`{|}\"");
    lenient.setProperty("relaxedQueryChars", "<>[\\]^`{|}\"");
    for (Connector connector : List.of(regular, lenient)) {
      connector.setPort(0);
      connector.setProperty("address", "127.0.0.1");
      tomcat.setConnector(connector);
    }
    org.apache.catalina.Context context = tomcat.addContext("/nevisfido", folder);
    Tomcat.addServlet(context, "calls", new TomcatServlet());
    for (String mapping : MAPPINGS) {
      context.addServletMappingDecoded(mapping, "calls");
    }
    tomcat.start();
    ports.put("tomcat", regular.getLocalPort());
    ports.put("tomcat, lenient", lenient.getLocalPort());
  }

  /** What a mapped servlet is called for: its path, which the container has matched, and what follows it. */
  static String[] match(String method, String servletPath, String pathInfo) {
    String id = pathInfo == null ? "" : pathInfo.substring(1);
    for (Call call : CALLS) {
      boolean withID = call.path().endsWith("/{id}");
      if (call.method().equals(method) && call.path().replace("/{id}", "").equals(servletPath)
          && (withID ? !id.isEmpty() && id.indexOf('/') < 0 : id.isEmpty())) {
        return new String[] {call.name(), id};
      }
    }
    return new String[] {"", ""};
  }

  static class JettyServlet extends javax.servlet.http.HttpServlet {
    @Override
    protected void service(javax.servlet.http.HttpServletRequest q, javax.servlet.http.HttpServletResponse a)
        throws IOException {
      String[] call = match(q.getMethod(), q.getServletPath(), q.getPathInfo());
      byte[] answer = answer(call, q.getHeader("Read"), q.getContentType(), q.getInputStream());
      a.setContentLength(answer.length);
      a.getOutputStream().write(answer);
    }
  }

  static class TomcatServlet extends jakarta.servlet.http.HttpServlet {
    @Override
    protected void service(jakarta.servlet.http.HttpServletRequest q, jakarta.servlet.http.HttpServletResponse a)
        throws IOException {
      String[] call = match(q.getMethod(), q.getServletPath(), q.getPathInfo());
      byte[] answer = answer(call, q.getHeader("Read"), q.getContentType(), q.getInputStream());
      a.setContentLength(answer.length);
      a.getOutputStream().write(answer);
    }
  }

  /** Finds the call as Spring's DispatcherServlet does. */
  static class SpringServlet extends javax.servlet.http.HttpServlet {
    private final RequestMappingHandlerMapping mapping = new RequestMappingHandlerMapping();

    /** What is mapped for a call. */
    record Handler(String name) {
      public void handle() {}
    }

    SpringServlet(boolean lenient) throws Exception {
      AntPathMatcher matcher = new AntPathMatcher();
      matcher.setCaseSensitive(!lenient);
      matcher.setTrimTokens(lenient);
      UrlPathHelper paths = new UrlPathHelper();
      paths.setAlwaysUseFullPath(lenient);
      paths.setDefaultEncoding("UTF-8"); // as Spring Boot's CharacterEncodingFilter does
      mapping.setPathMatcher(matcher);
      mapping.setUrlPathHelper(paths);
      mapping.setApplicationContext(new StaticWebApplicationContext());
      mapping.afterPropertiesSet();
      RequestMappingInfo.BuilderConfiguration options = new RequestMappingInfo.BuilderConfiguration();
      options.setPathMatcher(matcher);
      options.setUrlPathHelper(paths);
      options.setSuffixPatternMatch(true); // as these two are by default before Spring 5.3 and 6
      options.setTrailingSlashMatch(true);
      for (Call call : CALLS) {
        mapping.registerMapping(
            RequestMappingInfo.paths(call.path()).methods(RequestMethod.valueOf(call.method())).options(options).build(),
            new Handler(call.name()), Handler.class.getMethod("handle"));
      }
    }

    @Override
    protected void service(javax.servlet.http.HttpServletRequest q, javax.servlet.http.HttpServletResponse a)
        throws IOException {
      String[] call = {"", ""};
      try {
        HandlerExecutionChain chain = mapping.getHandler(q);
        if (chain != null && chain.getHandler() instanceof HandlerMethod h && h.getBean() instanceof Handler handler) {
          Map<?, ?> variables = (Map<?, ?>) q.getAttribute(HandlerMapping.URI_TEMPLATE_VARIABLES_ATTRIBUTE);
          Object id = variables.get("id");
          call = new String[] {handler.name(), id == null ? "" : id.toString()};
        }
      } catch (Exception e) {
        // another method, or not a path: not a call
      }
      byte[] answer = answer(call, q.getHeader("Read"), q.getContentType(), q.getInputStream());
      a.setContentLength(answer.length);
      a.getOutputStream().write(answer);
    }
  }

  // What Jackson makes of bodies.

  static class Dispatch {
    public String dispatcher;
    public String dispatchTargetId;
    public JsonNode dispatchInformation;
    public GetUafRequest getUafRequest;
  }

  static class GetUafRequest {
    public String op;
    public String context;
  }

  static class Context {
    public String username;
  }

  static class Information {
    public Notification notification;
  }

  static class Notification {
    public String title;
    public String body;
  }

  static class Target {
    public String username;
    public String deviceId;
    public String name;
    public String target;
    public String dispatcher;
    public JsonNode encryptionKey;
    public JsonNode signatureKey;
  }

  /** ObjectMapper as Spring Boot makes it. */
  static final ObjectMapper BOOT = JsonMapper.builder()
      .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES).disable(MapperFeature.DEFAULT_VIEW_INCLUSION).build();

  static final ObjectMapper STRICT = JsonMapper.builder()
      .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS).enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION).build();

  static final ObjectMapper LENIENT = JsonMapper.builder()
      .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
      .enable(MapperFeature.ACCEPT_CASE_INSENSITIVE_PROPERTIES)
      .enable(DeserializationFeature.UNWRAP_SINGLE_VALUE_ARRAYS)
      .enable(DeserializationFeature.ACCEPT_EMPTY_STRING_AS_NULL_OBJECT)
      .enable(JsonReadFeature.values()).build();

  static final ObjectMapper ANSWERS = JsonMapper.builder().enable(JsonGenerator.Feature.ESCAPE_NON_ASCII).build();

  /** A way to get a value of a class out of a body. */
  interface Reading {
    <T> T read(Class<T> type) throws Exception;
  }

  static byte[] answer(String[] call, String read, String contentType, InputStream in) throws IOException {
    byte[] body = in.readAllBytes();
    Map<String, Object> answer = new LinkedHashMap<>();
    answer.put("call", call[0]);
    answer.put("id", call[1]);
    if (read != null) {
      Map<String, Object> readings = new LinkedHashMap<>();
      for (Map.Entry<String, ObjectMapper> e : Map.of("boot", BOOT, "strict", STRICT, "lenient", LENIENT).entrySet()) {
        ObjectMapper m = e.getValue();
        add(readings, e.getKey(), call[0], m, new Reading() {
          public <T> T read(Class<T> type) throws Exception {
            return m.readValue(body, type);
          }
        });
        // As Spring does since 5.3: with the charset of the content type where that is none of Unicode's.
        add(readings, e.getKey() + ", charset", call[0], m, new Reading() {
          public <T> T read(Class<T> type) throws Exception {
            Charset charset = MediaType.parseMediaType(contentType).getCharset();
            return m.readValue(new InputStreamReader(new ByteArrayInputStream(body),
                charset == null ? StandardCharsets.UTF_8 : charset), type);
          }
        });
      }
      add(readings, "spring", call[0], BOOT, new Reading() {
        public <T> T read(Class<T> type) throws Exception {
          return type.cast(convert(type, contentType, body));
        }
      });
      answer.put("readings", readings);
    }
    return ANSWERS.writeValueAsBytes(answer);
  }

  static Object convert(Class<?> type, String contentType, byte[] body) throws Exception {
    MappingJackson2HttpMessageConverter converter = new MappingJackson2HttpMessageConverter(BOOT);
    MediaType media = MediaType.parseMediaType(contentType);
    if (!converter.canRead(type, media)) {
      throw new IOException("not JSON");
    }
    HttpHeaders headers = new HttpHeaders();
    headers.setContentType(media);
    return converter.read(type, new HttpInputMessage() {
      public InputStream getBody() {
        return new ByteArrayInputStream(body);
      }

      public HttpHeaders getHeaders() {
        return headers;
      }
    });
  }

  /** Adds the members of a body; nothing where it cannot be read. */
  static void add(Map<String, Object> readings, String name, String call, ObjectMapper m, Reading r) {
    Map<String, Object> members = new LinkedHashMap<>();
    try {
      if (call.equals("create")) {
        Target t = r.read(Target.class);
        members.put("username", t.username);
        members.put("deviceId", t.deviceId);
        members.put("name", t.name);
        members.put("target", t.target);
        members.put("dispatcher", t.dispatcher);
        members.put("encryptionKey", t.encryptionKey == null || !t.encryptionKey.isObject() ? null : t.encryptionKey);
        members.put("signatureKey", t.signatureKey == null || !t.signatureKey.isObject() ? null : t.signatureKey);
      } else {
        Dispatch d = r.read(Dispatch.class);
        members.put("dispatcher", d.dispatcher);
        members.put("dispatchTargetId", d.dispatchTargetId);
        if (d.getUafRequest != null && d.getUafRequest.context != null) {
          members.put("username", username(m, d.getUafRequest.context));
        }
        if (d.dispatchInformation != null && d.dispatchInformation.isObject()) {
          Information i = m.treeToValue(d.dispatchInformation, Information.class);
          if (i.notification != null) {
            members.put("title", i.notification.title);
            members.put("body", i.notification.body);
          }
        }
      }
      readings.put(name, members);
    } catch (Exception e) {
      // nevisFIDO would refuse it
    }
  }

  static String username(ObjectMapper m, String context) {
    try {
      return m.readValue(context, Context.class).username;
    } catch (Exception e) {
      return null;
    }
  }
}
