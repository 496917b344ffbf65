//! A desktop with a tray and notifications, as far as a launcher needs one: the watcher that icons
//! register at (StatusNotifierItem, freedesktop.org), the reader of their menus (com.canonical.dbusmenu),
//! and a service that takes notifications.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use zbus::{
    message::Header,
    zvariant::{Dict, OwnedObjectPath, OwnedValue, Structure, Value},
};

use super::{Bus, LOOK, PATIENCE};

/// What the desktop has been given.
#[derive(Default)]
struct Given {
    /// Name on the bus and object path of each icon.
    icons: Vec<(String, String)>,
    notifications: Vec<String>,
}

/// The tray of a session bus, and its notifications.
pub struct Tray {
    connection: zbus::Connection,
    given: Arc<Mutex<Given>>,
}

struct Watcher(Arc<Mutex<Given>>);

#[zbus::interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, #[zbus(header)] header: Header<'_>, service: &str) {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        self.0.lock().unwrap().icons.push((sender, service.into()));
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        let given = self.0.lock().unwrap();
        (given.icons.iter())
            .map(|(sender, path)| format!("{sender}{path}"))
            .collect()
    }
}

struct Notifications(Arc<Mutex<Given>>);

#[zbus::interface(name = "org.freedesktop.Notifications")]
impl Notifications {
    #[allow(clippy::too_many_arguments, reason = "the interface has them")]
    fn notify(
        &self,
        _application: &str,
        _replaces: u32,
        _icon: &str,
        _summary: &str,
        body: &str,
        _actions: Vec<String>,
        _hints: std::collections::HashMap<String, OwnedValue>,
        _expires: i32,
    ) -> u32 {
        let mut given = self.0.lock().unwrap();
        given.notifications.push(body.into());
        u32::try_from(given.notifications.len()).unwrap_or(u32::MAX)
    }

    fn get_capabilities(&self) -> Vec<String> {
        vec!["body".into()]
    }

    fn get_server_information(&self) -> (&str, &str, &str, &str) {
        ("Tray", "Warp", "1", "1.2")
    }
}

/// One line of a tray's menu.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    id: i32,
    /// What it says.
    pub label: String,
    /// Whether it can be chosen.
    pub enabled: bool,
}

impl Tray {
    /// Offers tray and notifications on `bus`.
    pub async fn start(bus: &Bus) -> Self {
        let given = Arc::new(Mutex::new(Given::default()));
        let connection = zbus::connection::Builder::address(bus.address.as_str())
            .and_then(|bus| bus.name("org.kde.StatusNotifierWatcher"))
            .and_then(|bus| bus.name("org.freedesktop.Notifications"))
            .and_then(|bus| bus.serve_at("/StatusNotifierWatcher", Watcher(Arc::clone(&given))))
            .and_then(|bus| {
                let notifications = Notifications(Arc::clone(&given));
                bus.serve_at("/org/freedesktop/Notifications", notifications)
            });
        let connection = connection.unwrap().build().await;
        Self {
            connection: connection.expect("the bus takes a tray"),
            given,
        }
    }

    /// What was notified so far.
    #[must_use]
    pub fn notifications(&self) -> Vec<String> {
        self.given.lock().unwrap().notifications.clone()
    }

    /// The menu of the only icon; `None` while there is none.
    async fn menu(&self) -> Option<zbus::Proxy<'_>> {
        let (sender, path) = self.given.lock().unwrap().icons.first().cloned()?;
        let icon = zbus::Proxy::new(
            &self.connection,
            sender.clone(),
            path,
            "org.kde.StatusNotifierItem",
        );
        let menu: OwnedObjectPath = icon.await.ok()?.get_property("Menu").await.ok()?;
        zbus::Proxy::new(&self.connection, sender, menu, "com.canonical.dbusmenu")
            .await
            .ok()
    }

    /// The lines of the menu that say something, from above; empty while there is no icon.
    pub async fn lines(&self) -> Vec<Line> {
        let Some(menu) = self.menu().await else {
            return Vec::new();
        };
        type Root = (
            i32,
            std::collections::HashMap<String, OwnedValue>,
            Vec<OwnedValue>,
        );
        let all: zbus::Result<(u32, Root)> = menu
            .call("GetLayout", &(0_i32, -1_i32, Vec::<&str>::new()))
            .await;
        let children = all.map(|(_, root)| root.2).unwrap_or_default();
        children.iter().filter_map(|line| line_of(line)).collect()
    }

    /// Waits until the menu has a line that says `label`.
    pub async fn shows(&self, label: &str) -> Line {
        let until = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines().await;
            if let Some(line) = lines.iter().find(|line| line.label == label) {
                return line.clone();
            }
            assert!(
                Instant::now() < until,
                "waited in vain for {label:?}: {lines:?}"
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for a line and chooses it.
    pub async fn choose(&self, label: &str) {
        let line = self.shows(label).await;
        let menu = self.menu().await.expect("the menu was there");
        let clicked = (line.id, "clicked", Value::from(0_i32), 0_u32);
        let chosen: zbus::Result<()> = menu.call("Event", &clicked).await;
        chosen.unwrap_or_else(|error| panic!("{label}: {error}"));
    }
}

/// A child of the layout: `(ia{sv}av)`.
fn line_of(child: &Value<'_>) -> Option<Line> {
    let fields: &Structure<'_> = child.downcast_ref().ok()?;
    let [id, properties, _] = fields.fields() else {
        return None;
    };
    let properties: &Dict<'_, '_> = properties.downcast_ref().ok()?;
    let label: Option<String> = properties.get(&"label").ok()?;
    // Said only where it is not so.
    let enabled: Option<bool> = properties.get(&"enabled").ok()?;
    Some(Line {
        id: id.downcast_ref().ok()?,
        label: label?,
        enabled: enabled.unwrap_or(true),
    })
}
