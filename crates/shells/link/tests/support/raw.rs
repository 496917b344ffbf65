//! A peer that is none of ours: the bare library, which says on each channel what it is told.

use std::sync::Arc;

use bytes::BytesMut;
use tokio::sync::mpsc;
use warp_link::peer::{Answerer, Channels};
use warp_peer_core::{Channel, Control};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCIceCandidateInit,
    RTCIceGatheringState, RTCSessionDescription, SettingEngineBuilder,
};
use webrtc::runtime::TokioRuntime;

struct Gathered(mpsc::Sender<()>);

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Gathered {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.0.try_send(());
        }
    }
}

/// The stranger's end, and ours.
pub struct Stranger {
    pub pc: Arc<dyn PeerConnection>,
    pub channels: [Arc<dyn DataChannel>; 4],
    pub answerer: Answerer,
    pub ours: Channels,
}

impl Stranger {
    /// Connects, and greets as one of ours would.
    pub async fn connect() -> Self {
        let (done, mut gathered) = mpsc::channel(1);
        let settings = SettingEngineBuilder::new()
            .with_include_loopback_candidate(true)
            .build();
        let pc = PeerConnectionBuilder::new()
            .with_setting_engine(settings)
            .with_handler(Arc::new(Gathered(done)))
            .with_runtime(Arc::new(TokioRuntime))
            // What it floods us with is not to lie in the memory of the same process.
            .with_data_channel_send_buffer_limit(1024 * 1024)
            .with_udp_addrs(vec!["127.0.0.1:0"]);
        let pc: Arc<dyn PeerConnection> = Arc::new(Box::pin(pc.build()).await.unwrap());
        let mut channels: Vec<Arc<dyn DataChannel>> = Vec::new();
        for channel in Channel::ALL {
            let init = RTCDataChannelInit {
                ordered: channel.is_reliable(),
                max_packet_life_time: None,
                max_retransmits: (!channel.is_reliable()).then_some(0),
                protocol: String::new(),
                negotiated: Some(channel.id()),
            };
            channels.push(
                pc.create_data_channel(channel.label(), Some(init))
                    .await
                    .unwrap(),
            );
        }
        let offer = pc.create_offer(None).await.unwrap();
        pc.set_local_description(offer).await.unwrap();
        gathered.recv().await;
        let offer = pc.local_description().await.unwrap().sdp;
        let (answerer, answer, mut candidates) =
            Answerer::accept(super::config(), &offer).await.unwrap();
        let answer = RTCSessionDescription::answer(answer).unwrap();
        pc.set_remote_description(answer).await.unwrap();
        while let Some(candidate) = candidates.next().await {
            let init = RTCIceCandidateInit {
                candidate: candidate["candidate"].as_str().unwrap().to_owned(),
                sdp_mid: Some("0".to_owned()),
                sdp_mline_index: Some(0),
                username_fragment: None,
                url: None,
            };
            pc.add_ice_candidate(init).await.unwrap();
        }
        let channels: [Arc<dyn DataChannel>; 4] = channels.try_into().ok().unwrap();
        for channel in &channels {
            while !matches!(channel.poll().await, Some(DataChannelEvent::OnOpen)) {}
        }
        let hello = Control::Hello {
            heard: false,
            credits: [1 << 40; 3],
        };
        // What comes before our side has made its channels may be lost.
        let greet = async {
            loop {
                channels[0].send(hello.encode()).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        let ours = tokio::select! {
            ours = answerer.channels() => ours.unwrap(),
            () = greet => unreachable!("it greets for ever"),
        };
        Self {
            pc,
            channels,
            answerer,
            ours,
        }
    }

    /// Says something on a channel.
    pub async fn say(&self, channel: Channel, message: &[u8]) -> bool {
        let message = BytesMut::from(message);
        self.channels[channel as usize].send(message).await.is_ok()
    }
}
